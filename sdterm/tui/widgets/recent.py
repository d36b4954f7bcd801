"""Recent: the pictures drawn last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from sdterm.tui.actions import bindings
from sdterm.tui.differing import changed, in_short, kind_word
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.messages import CompareWanted
from sdterm.tui.widgets.border import SaysBelow
from sdterm.tui.widgets.invitation import EXAMPLES
from sdterm.tui.widgets.picture_actions import PictureActions
from sdterm.tui.widgets.tiles import STEPS, Tile, Tiles

if TYPE_CHECKING:
    from sdterm.api import Picture


class Recent(SaysBelow, Tiles, PictureActions):
    """The pictures drawn last, the newest on the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        *STEPS,
        Binding("escape", "leave", show=False),
        *(Binding(f"alt+{number}", f"compare_with({number})", show=False) for number in range(1, 10)),
    ]

    class Left(Message):
        """Enough looked at."""

    def __init__(self) -> None:
        super().__init__(id="recent")
        self.on_blur()
        self._changes: dict[int, dict[str, str]] = {}  # picture → what changed against the one before it

    def on_focus(self) -> None:
        self.border_title = tr("Recent  1-9 choose, M-1 to M-9 compare")

    def on_blur(self) -> None:
        self.border_title = tr("Recent  {key}", key=self.shell.key("recent"))

    def show(self, pictures: Sequence[Picture], ended: int | None = None, *, keep: bool = False) -> None:
        """Show these, given the newest first. The newest picture of a job that has just ended is chosen, unless the
        choice is to be kept; without one, the picture that was chosen before, unless it was the newest: then the newest
        again."""
        in_order = pictures[::-1]
        before = self.chosen() if keep or self.at < len(self.pictures) - 1 else None
        follows = ended is not None and not (keep and before)
        drawn = [i for i, picture in enumerate(in_order) if follows and picture.job == ended]
        still = [i for i, picture in enumerate(in_order) if before and picture.id == before.id]
        self._changes = dict(_changes(in_order))
        self.put(in_order, (drawn or still or [len(in_order) - 1])[-1])

    def action_leave(self) -> None:
        """Back to the prompt."""
        self.post_message(self.Left())

    def action_compare_with(self, number: int) -> None:
        """Compare the chosen one with that of the first nine in sight."""
        chosen, other = self.chosen(), self.numbered(number)
        if chosen and other and other.id != chosen.id:
            self.post_message(CompareWanted([chosen, other]))

    def choose(self, at: int) -> None:
        super().choose(at)
        self._tell()

    def _tell(self) -> None:
        """The chosen one, in the border: there is room for all that changed."""
        picture = self.chosen()
        said = Text(f"{_seed(picture)}  {self._told(picture)}".strip() if picture else "")
        self.say_below(said)

    def _told(self, picture: Picture) -> str:
        """What changed, but the seed, which has a place of its own."""
        return ", ".join(word for name, word in self._changes.get(picture.id, {}).items() if name != "Seed")

    def tile(self) -> Tile:
        if not self.has_labels():
            height = max(1, min(2, self.size.height))
            return Tile(2 * height, height)
        return Tile(8, 4) if self.size.height > 4 else Tile(6, 3)

    def has_labels(self) -> bool:
        return self.size.height > 3

    def label(self, at: int) -> str:
        picture = self.pictures[at]
        if kind := kind_word(picture):
            return " " + kind
        return in_short(self._changes.get(picture.id, {}), picture.seed, self.tile().width - 1)

    def render_line(self, y: int) -> Strip:
        if self.pictures:
            return super().render_line(y)
        first, last = shown("alt+1"), shown(f"alt+{len(EXAMPLES)}")
        said = (
            tr("Nothing yet: write a prompt, then {key}.", key=self.shell.key("generate")),
            tr("{first} to {last} generate an example.", first=first, last=last),
        )
        line = f" {said[y]}" if y < len(said) else ""
        return Strip([Segment(line, self.rich_style)]).adjust_cell_length(self.size.width, self.rich_style)


def _changes(in_order: Sequence[Picture]) -> Iterator[tuple[int, dict[str, str]]]:
    """A grid, a mask or what was only made larger is no step on the way: the picture behind it is compared with the one
    before it."""
    before: Picture | None = None
    for picture in in_order:
        if picture.is_image:
            yield picture.id, changed(before.infotext, picture.infotext) if before else {}
            before = before if before and picture.kind == "upscaled" else picture


def _seed(picture: Picture) -> str:
    return tr("grid") if picture.seed is None else tr("seed {seed}", seed=picture.seed)

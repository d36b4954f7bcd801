"""Compare: pictures side by side or in each other's place, what was different in drawing them, and how far they are
apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from sdterm.core.text import printable
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.differing import differing, kind_word, measured, seed_of, table
from sdterm.tui.keymap import LEFT
from sdterm.tui.language import tr
from sdterm.tui.messages import Marked
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.picture_actions import PictureActions

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture

_NAMES = 24  # cells at most
_COLUMN = 10  # cells of a picture's values, at least
_FLIP = "-flip"


class CompareScreen(PictureActions, BaseScreen):
    """Two sides, each with one of the pictures; the keys are about the side with the double border.

    files: of pictures that the gallery has not, by their ids. flips: whether one alone is to be seen at first.
    """

    scopes = ("compare", "pictures")
    first_keys = ("flip", "other_side", "keep", "reject", "load")  # whatever is marked
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("compare"),
        *bindings("pictures"),
        Binding("left,h", "step(-1)", show=False, id=LEFT),
        Binding("right,l", "step(1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    def __init__(
        self, pictures: Sequence[Picture], files: Mapping[int, bytes] | None = None, *, flips: bool = False
    ) -> None:
        super().__init__(classes=_FLIP if flips else None)
        self._files = files or {}
        self._given = [*pictures]
        self._pictures = [*pictures]
        self._sides = [0, 1]  # which picture each side shows
        self._side = 1

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="pair"):
            yield PictureView(id="side0", mode=self.shell.picture_mode())
            yield PictureView(id="side1", mode=self.shell.picture_mode())
        with VerticalScroll(can_focus=False) as words:
            words.border_title = tr("What differs")
            words.border_subtitle = tr(
                "{flip} flips, Tab other side, arrows choose, Esc leaves.", flip=self._flip_key()
            )
            yield Static(id="differing", markup=False)
            yield Static(id="measured", markup=False)

    def _flip_key(self) -> str:
        return self.shell.key("flip")

    def on_mount(self) -> None:
        self._show()

    def chosen(self) -> Picture | None:
        at = self._sides[self._side]
        picture = self._pictures[at] if at < len(self._pictures) else None
        return (
            None if picture is None or picture.id in self._files else picture
        )  # which no key of pictures can be about

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        last = len(self._pictures) - 1
        if not last:
            self._sides, self._side = [0, 0], 0
        elif self._sides[0] == self._sides[1]:  # there was only one for a while
            self._sides = [0, 1]
        for side, view in enumerate(self._views()):
            view.set_class(side == self._side, "-active")
            view.display = side == self._side or (last > 0 and not self.has_class(_FLIP))
            at = self._sides[side]
            view.border_title = Text(f"{at + 1}/{last + 1}  {_about(self._pictures[at])}")
        self._draw()
        if last:
            left, right = (self._pictures[at] for at in self._sides)
            self._tell()
            self._measure(left, right)
        else:
            self.query_one("#differing", Static).update(Text(tr("Only one is left.")))
            self.query_one("#measured", Static).update("")

    def _views(self) -> list[PictureView]:
        return [self.query_one(f"#side{side}", PictureView) for side in (0, 1)]

    @work(group="draw", exclusive=True)
    async def _draw(self) -> None:
        for at, view in zip(self._sides, self._views(), strict=True):
            picture = self._pictures[at]
            data: bytes | None = None
            if not picture.missing:
                data = self._files.get(picture.id)
                if data is None:
                    data = await self.ask(calls.thumbnail(picture.id, 512))
            view.hint = tr("(its file is missing)") if picture.missing else ""
            view.show(data)

    def _tell(self) -> None:
        """What differs among all pictures, a column each. Those of the two sides are always among them."""
        rows = differing([picture.infotext for picture in self._pictures])
        names = min(_NAMES, max(map(cell_len, rows), default=0))
        cells = self.app.size.width - names - 6
        others = [at for at in range(len(self._pictures)) if at not in self._sides]
        shown = sorted([*self._sides, *others][: max(2, cells // (_COLUMN + 2))])
        width = cells // len(shown) - 2
        heads = [f"[{at + 1}]" if at in self._sides else f"{at + 1}" for at in shown] if others else []
        left_out = len(self._pictures) - len(shown)
        head = tr("{number} more", number=left_out) if left_out else ""
        fitted = table({name: [values[at] for at in shown] for name, values in rows.items()}, width)
        lines = [
            f"{set_cell_size(name, names)}  " + "  ".join(set_cell_size(value, width) for value in values)
            for name, values in [*([(head, heads)] if heads else []), *fitted]
        ]
        same = tr("They have the same parameters.")
        self.query_one("#differing", Static).update(Text("\n".join(lines) if rows else same, no_wrap=True))

    @work(group="measure", exclusive=True)
    async def _measure(self, left: Picture, right: Picture) -> None:
        shown = self.query_one("#measured", Static)
        shown.update("")
        if left.id == right.id:
            shown.update(Text(tr("This is one image.")))
        elif (left.width, left.height) != (right.width, right.height):
            shown.update(Text(tr("Their sizes are not the same, so their pixels cannot be compared.")))
        elif not (left.missing or right.missing):
            one, other = await self._file(left), await self._file(right)
            if one is not None and other is not None:
                shown.update(Text(await asyncio.to_thread(measured, one, other)))

    async def _file(self, picture: Picture) -> bytes | None:
        if picture.id in self._files:
            return self._files[picture.id]
        return await self.ask(calls.file(picture.id))

    def happened(self, entry: Entry) -> None:
        from sdterm.events import PictureDeleted, PictureRestored

        match entry.event:
            case PictureDeleted(picture=picture):
                self._without(picture)
            case PictureRestored(picture=picture) if picture not in [each.id for each in self._pictures]:
                shown = [self._pictures[at] for at in self._sides]
                there = {each.id for each in self._pictures} | {picture}
                self._pictures = [each for each in self._given if each.id in there]
                self._sides = [*map(self._pictures.index, shown)]
                self._show()

    def _without(self, picture: int) -> None:
        """A picture less; the side that showed it shows another one that the other side does not."""
        shown = [self._pictures[at].id for at in self._sides]
        self._pictures = [each for each in self._pictures if each.id != picture]
        ids = [each.id for each in self._pictures]
        if not ids:
            self.leave()
            return
        for side, was in enumerate(shown):
            others = [at for at, each in enumerate(ids) if each != shown[1 - side]] or [0]
            self._sides[side] = ids.index(was) if was in ids else others[min(self._sides[side], len(others) - 1)]
        self._show()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def action_flip(self) -> None:
        """The first time, one of them alone, larger; then the other in its place."""
        if not self.has_class(_FLIP):
            self.add_class(_FLIP)
        elif len(self._pictures) > 1:
            self._side = 1 - self._side
        self._arrange()

    def action_other_side(self) -> None:
        if len(self._pictures) > 1:
            self._side = 1 - self._side
            self._arrange()

    def _arrange(self) -> None:
        for side, view in enumerate(self._views()):
            view.set_class(side == self._side, "-active")
            view.display = side == self._side or (len(self._pictures) > 1 and not self.has_class(_FLIP))

    def action_step(self, by: int) -> None:
        """The next picture on this side; the one on the other side is passed over."""
        at, other = self._sides[self._side] + by, self._sides[1 - self._side]
        at += by if at == other else 0
        if 0 <= at < len(self._pictures):
            self._sides[self._side] = at
            self._show()

    def action_keep(self) -> None:
        if picture := self.chosen():
            self.shell.marks.clear()
            self.shell.marks[picture.id] = picture
            self.post_message(Marked())
            self.dismiss()
            self.shell.say(tr("Only image {image} is marked now.", image=picture.id))

    def action_reject(self) -> None:
        if picture := self.chosen():
            self.shell.marks.pop(picture.id, None)
            self.post_message(Marked())
            self._given = [each for each in self._given if each.id != picture.id]
            self._without(picture.id)

    def action_leave(self) -> None:
        if self.has_class(_FLIP):
            self.remove_class(_FLIP)
            self._arrange()
        else:
            self.dismiss()


def _about(picture: Picture) -> str:
    if not picture.id:
        return f"{tr('source')}  {picture.width}x{picture.height}"
    seed = kind_word(picture) or tr("seed {seed}", seed=printable(seed_of(picture), 40))
    return f"{picture.id}  {picture.width}x{picture.height}  {seed}"

"""The picture that a screen's list has chosen; it can be looked at alone, as large as it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from sdterm.core.infotext.grammar import parse
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.differing import kind_word, seed_of
from sdterm.tui.keymap import LEFT
from sdterm.tui.language import tr
from sdterm.tui.picture.support import PIXELS
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.widgets.invitation import in_the_middle
from sdterm.tui.widgets.picture_actions import PictureActions

if TYPE_CHECKING:
    from sdterm.api import Picture

ALONE = "-picture-only"
"""The class of a screen that shows nothing but its picture."""
_PIXELS = 512  # of a thumbnail, where no more can be seen
_TOLD = ("Sampler", "Steps", "CFG scale", "Model")


class Chooser(Protocol):
    """A list of pictures, one of them chosen."""

    def chosen(self) -> Picture | None: ...
    def pair(self) -> list[Picture]: ...
    def action_move(self, by: int) -> None: ...


class ChosenPicture(PictureActions, PictureView):
    """Its keys are its list's; it has the focus only while it is shown alone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--muted"}
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("left,h", "move(-1)", show=False, id=LEFT),
        Binding("up,pageup", "move(-1)", show=False),
        Binding("right,down,l,pagedown", "move(1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    def __init__(self, chooser: Callable[[], Chooser]) -> None:
        super().__init__(mode=self.shell.picture_mode(), id="picture")
        self.can_focus = False
        self._fetched: bytes | None = None  # what was shown of it
        self._chooser = chooser
        self.invitation: Callable[[], Text | None] = lambda: None
        """What stands there as a block, as long as there is no picture."""
        self._invited: tuple[Text, Size, list[Strip]] = Text(), Size(), []
        self._focused_before: Widget | None = None  # before it was shown alone

    def chosen(self) -> Picture | None:
        return self._chooser().chosen()

    def pair(self) -> list[Picture]:
        return self._chooser().pair()

    @work(group="chosen", exclusive=True)
    async def show_chosen(self) -> None:
        """Show what the list has chosen, or nothing."""
        picture = self.chosen()
        if picture is None or not self.size:
            self._fetched = None
            self.show(None)
            return
        alone = self.can_focus
        caption = _caption(picture, alone)
        self._fetched = None
        if picture.missing:
            caption += "  " + tr("(its file is missing)")
        else:
            whole = alone and self.mode in PIXELS
            self._fetched = await self.ask(calls.file(picture.id) if whole else calls.thumbnail(picture.id, _PIXELS))
        self.show(self._fetched, caption=caption)

    def on_resize(self) -> None:
        if self._data is None:  # there was no room for it
            self._show_again()

    def _show_again(self) -> None:
        """At the size that there is now; what is drawn just now stays."""
        if self._data is self._fetched:
            self.show_chosen()

    def render_line(self, y: int) -> Strip:
        if self._data is None and not self._caption and (text := self.invitation()):
            return self._block(text)[y]
        return super().render_line(y)

    def _block(self, text: Text) -> list[Strip]:
        """All lines, with the text in the middle."""
        if self._invited[:2] != (text, self.size):
            self._invited = text, self.size, in_the_middle(text, self)
        return self._invited[2]

    # --- alone --------------------------------------------------------------------------------------------------------

    def toggle_alone(self) -> None:
        """Show nothing but the picture, or everything again."""
        if self.can_focus:
            self.action_leave()
            return
        self._focused_before = self.screen.focused
        self.screen.add_class(ALONE)
        self.can_focus = True
        self.border_subtitle = tr("Esc leaves, arrows choose, {key} marks.", key=self.shell.key("mark"))
        self.focus()
        self.call_after_refresh(self._show_again)

    def action_leave(self) -> None:
        """Show the rest of the screen again."""
        if not self.can_focus:
            return
        self.screen.remove_class(ALONE)
        self.can_focus = False
        self.border_subtitle = ""
        before = self._focused_before
        (before if before and before.is_attached else self.screen.query(self.screen.AUTO_FOCUS).first()).focus()
        self.call_after_refresh(self._show_again)

    def action_move(self, by: int) -> None:
        self._chooser().action_move(by)

    def action_load(self) -> None:
        super().action_load()
        self.action_leave()


def _caption(picture: Picture, alone: bool) -> str:
    parameters = parse(picture.infotext).parameters
    what = kind_word(picture) or tr("seed {seed}", seed=seed_of(picture))
    told = [f"{picture.id}", f"{picture.width}x{picture.height}", what]
    more = [parameters[key] for key in _TOLD if key in parameters] if alone else []
    return "  ".join([*told, *more])

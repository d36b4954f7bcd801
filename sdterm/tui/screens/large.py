"""One picture as large as it fits; arrows go on to the others of its list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from sdterm.core.infotext.grammar import parse
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.language import tr
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.widgets.picture_actions import PictureActions

if TYPE_CHECKING:
    from sdterm.api import Picture

_PIXELS = 512  # of a thumbnail, where no more can be seen
_TOLD = ("Sampler", "Steps", "CFG scale", "Model")


class Large(PictureActions, ModalScreen[None]):
    """A picture alone. `move` chooses another one of the list, `chosen` is the one that is chosen there."""

    DEFAULT_CSS = "Large { background: $background; align: center middle; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,z,alt+w,q", "leave", show=False),
        *bindings("pictures"),
        Binding("left,up,h,k,pageup", "move(-1)", show=False),
        Binding("right,down,l,j,pagedown", "move(1)", show=False),
    ]

    def __init__(self, chosen: Callable[[], Picture | None], move: Callable[[int], None]) -> None:
        super().__init__()
        self._chosen, self._move = chosen, move

    def chosen(self) -> Picture | None:
        return self._chosen()

    def compose(self) -> ComposeResult:
        yield PictureView(mode=self.shell.picture_mode())

    def on_mount(self) -> None:
        self._show()

    @work(group="large", exclusive=True)
    async def _show(self) -> None:
        picture = self.chosen()
        view = self.query_one(PictureView)
        if not picture:
            return
        parameters = parse(picture.infotext).parameters
        seed = picture.seed if picture.seed is not None else parameters.get("Seed", "")
        told = [f"{picture.id}", f"{picture.width}x{picture.height}", tr("seed {seed}", seed=seed)]
        told += [parameters[key] for key in _TOLD if key in parameters]
        caption = "  ".join([*told, tr("Esc back")])
        if picture.missing:
            view.show(None, caption=caption + "  " + tr("(its file is gone)"))
            return
        has_pixels = view.mode in ("kitty", "sixel")
        data = await self.ask(calls.file(picture.id) if has_pixels else calls.thumbnail(picture.id, _PIXELS))
        view.show(data, caption=caption)

    def action_move(self, by: int) -> None:
        self._move(by)
        self._show()

    def action_load(self) -> None:
        super().action_load()
        self.dismiss()

    def action_leave(self) -> None:
        self.dismiss()

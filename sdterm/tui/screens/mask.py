"""Mask: draw over a picture what is to be drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PIL import Image
from rich.cells import cell_len, set_cell_size
from textual import on
from textual.widget import Widget

from sdterm.tui import mask
from sdterm.tui.language import tr
from sdterm.tui.mask import Canvas
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.mask_view import MaskView

_STATE = 26  # cells


class MaskScreen(BaseScreen):
    """name: of the picture. taken: is given the mask as a PNG once it is done, or nothing if nothing is covered."""

    AUTO_FOCUS = "MaskView"

    def __init__(self, name: str, picture: Image.Image, canvas: Canvas, taken: Callable[[bytes], None]) -> None:
        super().__init__()
        self._called, self._picture, self._canvas, self._taken = name, picture, canvas, taken

    def body(self) -> Iterable[Widget]:
        yield MaskView(self._picture, self._canvas)

    @on(MaskView.Changed)
    def _tell(self) -> None:
        view = self.query_one(MaskView)
        window = view.window
        zoom = f"  {window.zoom:.3g}x" if window.zoom > 1 else ""
        view.border_title = tr("Mask of {name}", name=self._called) + f"  {window.width}x{window.height}{zoom}"
        if view.stroke:
            state = tr("{key} ends it, Esc drops it", key=self.shell.key(view.stroke.tool))
        else:
            state = tr("{share}% covered", share=f"{100 * mask.share(view.history.now):.1f}")
        keys = {name: self.shell.key(name) for name in ("erase", "zoom_in", "go_help")}
        state = set_cell_size(state, _STATE)  # what does not move is not written again
        erases = tr("{key} adds again", key=keys["erase"]) if view.erases else tr("{key} erases", key=keys["erase"])
        told = [tr("brush {size} px", size=2 * view.radius + 1), erases, tr("{key} zooms", key=keys["zoom_in"])]
        view.border_subtitle = _fitting([state, *told], tr("{key} all keys", key=keys["go_help"]), view.size.width - 4)

    @on(MaskView.Changed)
    @on(MaskView.Moved)
    def _tell_place(self) -> None:
        """Where the cursor is, and how large what was begun is, in the picture's pixels."""
        view = self.query_one(MaskView)
        told = "{},{}".format(*view.cursor)
        if view.stroke and view.stroke.has_box:
            left, top, right, bottom = view.stroke.box
            told += f"  {right - left}x{bottom - top} px"
        if view.count is not None:
            keys = {name: self.shell.key(name) for name in ("grow", "shrink")}
            far = f"{view.count * view.window.step:.0f}"
            told += "  " + tr(
                "{count}: an arrow goes {far} px; {grow} or {shrink} {count} px", count=view.count, far=far, **keys
            )
        self.say(told, standing=True)

    @on(MaskView.Done)
    def _take(self) -> None:
        canvas = self.query_one(MaskView).history.now
        self.dismiss()
        self._taken(mask.png(canvas) if canvas.any() else b"")

    @on(MaskView.Left)
    def _leave(self) -> None:
        from sdterm.tui.screens.pick import Ask

        if not self.query_one(MaskView).history.is_changed:
            self.dismiss()
            return

        def answered(key: str | None) -> None:
            if key == "enter":
                self._take()
            elif key == "d":
                self.dismiss()

        answers = [("enter", tr("use the mask")), ("d", tr("discard the drawing"))]
        self.app.push_screen(Ask(tr("Leave the mask?"), [], answers, otherwise=tr("continue drawing")), answered)


def _fitting(told: list[str], last: str, cells: int) -> str:
    """As much as there is room for, and what is last."""
    while len(told) > 1 and cell_len("  ".join([*told, last])) > cells:
        told = told[:-1]
    return "  ".join([*told, last])

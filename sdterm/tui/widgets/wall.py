"""A wall of small pictures: arrows choose one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message

from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.widgets.picture_actions import PictureActions

if TYPE_CHECKING:
    from sdterm.api import Picture
    from sdterm.tui.batches import Line

_TILE = 18, 9  # cells that a picture has, more or less
FIRST_KEYS = ("load", "filter", "thumbnails", "large", "sort", "copy_parameters")
"""What the key bar names first where the gallery's pictures are chosen."""
_PIXELS = 128
_KEPT = 300  # thumbnails, of some KB each


class Wall(PictureActions, Container, can_focus=True):
    """As many pictures as fit, the chosen one in a frame."""

    scopes = ("pictures", "gallery")
    first_keys = FIRST_KEYS

    DEFAULT_CSS = """
    Wall { layout: grid; height: 1fr; border: round $secondary; overflow: hidden; }
    Wall:focus { border: double $accent; }
    Wall PictureView { border: blank; }
    Wall PictureView.-chosen { border: heavy $accent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("left,h", "move(-1, 0)", show=False),
        Binding("right,l", "move(1, 0)", show=False),
        Binding("up,k", "move(0, -1)", show=False),
        Binding("down,j", "move(0, 1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000, 0)", show=False),
        Binding("end,G", "move(1000000, 0)", show=False),
    ]

    class Moved(Message):
        """Another line of the list is to be chosen: so many from the one that is."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Line] = ()
        self._at = 0
        self._top = 0  # row of the first one shown
        self._thumbnails: dict[int, bytes] = {}

    def chosen(self) -> Picture | None:
        return self._lines[self._at].picture if self._at < len(self._lines) else None

    def show(self, lines: Sequence[Line], at: int) -> None:
        """Show those around the chosen one."""
        self._lines, self._at = lines, at
        if self.display and self.size:
            self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _shape(self) -> tuple[int, int]:
        """Columns and rows."""
        return max(1, round(self.size.width / _TILE[0])), max(1, round(self.size.height / _TILE[1]))

    @work(group="wall", exclusive=True)
    async def _lay_out(self) -> None:
        columns, rows = self._shape()
        row = self._at // columns
        self._top = max(0, min(max(self._top, row - rows + 1), row))
        views = [*self.query(PictureView)]
        if len(views) < columns * rows:
            fresh = [PictureView(mode=self.shell.picture_mode()) for _ in range(columns * rows - len(views))]
            await self.mount(*fresh)
            views += fresh
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        first = self._top * columns
        shown = self._lines[first : first + columns * rows]
        for number, view in enumerate(views):
            view.display = number < len(shown)
            view.set_class(first + number == self._at, "-chosen")
        for view, line in zip(views, shown, strict=False):
            view.show(await self._thumbnail(line.picture), caption=_caption(line))

    async def _thumbnail(self, picture: Picture) -> bytes | None:
        if picture.missing:
            return None
        if picture.id not in self._thumbnails:
            data = await self.ask(calls.thumbnail(picture.id, _PIXELS))
            if data is None:
                return None
            while len(self._thumbnails) >= _KEPT:
                del self._thumbnails[next(iter(self._thumbnails))]
            self._thumbnails[picture.id] = data
        return self._thumbnails[picture.id]

    def action_move(self, by: int, rows: int) -> None:
        self.post_message(self.Moved(by + rows * self._shape()[0]))

    def action_page(self, by: int) -> None:
        columns, rows = self._shape()
        self.post_message(self.Moved(by * columns * rows))


def _caption(line: Line) -> str:
    picture = line.picture
    if picture.missing:
        return f"{picture.id} !"
    return f"{picture.id} ({len(line.pictures)})" if line.is_folded else f"{picture.id} {picture.seed or ''}"

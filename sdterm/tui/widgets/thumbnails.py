"""The pictures around the chosen one, small, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.containers import Horizontal

from sdterm.tui import calls
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.shell import HasShell

if TYPE_CHECKING:
    from sdterm.api import Picture

_WIDTH = 12  # cells of one


class Thumbnails(HasShell, Horizontal):
    """One line of small pictures; the first one is the chosen one."""

    DEFAULT_CSS = """
    Thumbnails { height: 7; display: none; }
    Thumbnails PictureView { width: 12; height: 7; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[int] = []

    @work(group="thumbnails", exclusive=True)
    async def show(self, pictures: Sequence[Picture], at: int) -> None:
        """Show those from the chosen one on."""
        if not self.display:
            return
        room = max(1, (self.size.width or 80) // _WIDTH)
        wanted = pictures[at : at + room]
        views = [*self.query(PictureView)]
        if len(views) < len(wanted):
            fresh = [PictureView(mode=self.shell.picture_mode()) for _ in range(len(wanted) - len(views))]
            await self.mount(*fresh)
            views += fresh
        for view, picture in zip(views, wanted, strict=False):
            view.display = True
            if picture.missing:
                view.show(None, caption=f"{picture.id} !")
                continue
            data = await self.ask(calls.thumbnail(picture.id, 64))
            view.show(data, caption=str(picture.id))
        for view in views[len(wanted) :]:
            view.display = False

"""All pictures of a job at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget

from sdterm.tui import calls
from sdterm.tui.differing import changed, in_short
from sdterm.tui.language import counted, tr
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.wall import Label, Wall

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture

_MOST = 100


class WallScreen(BaseScreen):
    """Arrows move, Enter takes the chosen one into the form, Esc leaves."""

    AUTO_FOCUS = "Wall"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, around: Picture) -> None:
        super().__init__()
        self._around = around  # one of the pictures to show

    def body(self) -> Iterable[Widget]:
        wall = Wall()
        wall.border_subtitle = tr("Enter takes it, Esc leaves.")
        yield wall

    def on_mount(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        job = self._around.job
        wall = self.query_one(Wall)
        page = await self.ask(calls.pictures(limit=_MOST, job=job))
        if page is None:
            return
        # where its job is not known, all that was drawn last
        pictures = sorted((p for p in page.pictures if p.is_image), key=lambda picture: picture.id)
        told = counted("#{job}  {number} image", "#{job}  {number} images", len(pictures), job=job)
        wall.border_title = told if job is not None else tr("Recent")
        if not pictures:
            self.leave()
            return
        here = wall.chosen() or self._around
        ids = [picture.id for picture in pictures]
        wall.show(pictures, _labels(pictures), ids.index(here.id) if here.id in ids else wall.at)

    def marked(self) -> None:
        self.query_one(Wall).refresh_marks()

    def action_leave(self) -> None:
        self.dismiss()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Image, PictureDeleted, PictureRestored

        if isinstance(entry.event, Image | PictureDeleted | PictureRestored):
            self._load()


def _labels(pictures: list[Picture]) -> list[Label]:
    """What changed against the first one."""
    first = pictures[0]
    changes = ({} if each is first else changed(first.infotext, each.infotext) for each in pictures)
    return [partial(in_short, told, each.seed) for told, each in zip(changes, pictures, strict=True)]

"""The wall: all pictures of a job at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget

from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.differing import changed, in_short
from sdterm.tui.language import tr
from sdterm.tui.screens.room import Room
from sdterm.tui.widgets.picture_actions import PictureActions
from sdterm.tui.widgets.tiles import Tile, Tiles

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture

_MOST = 100


class WallTiles(Tiles, PictureActions):
    """As large as all of them fit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("left,h", "move(-1)", show=False),
        Binding("right,l", "move(1)", show=False),
        Binding("up,k", "line(-1)", show=False),
        Binding("down,j", "line(1)", show=False),
        Binding("home,g", "move(-1000)", show=False),
        Binding("end,G", "move(1000)", show=False),
    ]

    def tile(self) -> Tile:
        width, height = self.size
        ratio = self.pictures[0].width / max(1, self.pictures[0].height) if self.pictures else 1.0
        tiles = (_tile(each, ratio) for each in range(width - 2, 3, -1))
        fitting = (tile for tile in tiles if self._holds(tile, width, height) >= len(self.pictures))
        return next(fitting, _tile(8, ratio))

    @staticmethod
    def _holds(tile: Tile, width: int, height: int) -> int:
        return (width - 1) // (tile.width + 1) * (height // (tile.height + 1))

    def pair(self) -> list[Picture]:
        return [*self.pictures[max(0, self.at - 1) : self.at + 1]]

    def has_labels(self) -> bool:
        return True

    def sign(self, at: int) -> str:
        return str(at + 1) if at < 9 else " "

    def label(self, at: int) -> str:
        picture = self.pictures[at]
        changes = changed(self.pictures[0].infotext, picture.infotext) if at else {}
        return in_short(changes, picture.seed, self.tile().width - 1)

    def action_move(self, by: int) -> None:
        self.choose(self.at + by)

    def action_line(self, by: int) -> None:
        if 0 <= self.at + by * self.columns < len(self.pictures):
            self.choose(self.at + by * self.columns)


def _tile(width: int, ratio: float) -> Tile:
    width = max(2, width)
    return Tile(width, max(1, round(width / ratio / 2)))


class WallScreen(Room):
    """Arrows move, Enter takes the chosen one into the form, Esc leaves."""

    room = "go_generate"  # which it is a part of
    AUTO_FOCUS = "WallTiles"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        *(Binding(str(number), f"pick({number})", show=False) for number in range(1, 10)),
    ]

    def __init__(self, around: Picture) -> None:
        super().__init__()
        self._around = around  # one of the pictures to show

    def body(self) -> Iterable[Widget]:
        tiles = WallTiles(id="wall")
        tiles.border_subtitle = tr("Enter takes it, Esc leaves.")
        yield tiles

    def on_mount(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        job = self._around.job
        tiles = self.query_one(WallTiles)
        page = await self.ask(calls.pictures(limit=_MOST, job=job))
        if page is None:
            return
        # where its job is not known, all that was drawn last
        pictures = sorted((p for p in page.pictures if p.number >= 0), key=lambda picture: picture.id)
        told = tr("#{job}  {number} picture(s)", job=job, number=len(pictures))
        tiles.border_title = told if job is not None else tr("Recent")
        if not pictures:
            self.action_leave()
            return
        here = tiles.chosen() or self._around
        ids = [picture.id for picture in pictures]
        tiles.put(pictures, ids.index(here.id) if here.id in ids else tiles.at)

    def marked(self) -> None:
        self.query_one(WallTiles).refresh_marks()

    def action_pick(self, number: int) -> None:
        tiles = self.query_one(WallTiles)
        if number <= len(tiles.pictures):
            tiles.choose(number - 1)

    def action_leave(self) -> None:
        self.dismiss()

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Image, PictureDeleted, PictureRestored

        if isinstance(entry.event, Image | PictureDeleted | PictureRestored):
            self._load()

"""A wall of small pictures, each with a line below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from sdterm.tui.actions import bindings
from sdterm.tui.widgets.picture_actions import PictureActions
from sdterm.tui.widgets.tiles import STEPS, Tile, Tiles

if TYPE_CHECKING:
    from sdterm.api import Picture

Label = Callable[[int], str]
"""What stands below a picture, in so many cells."""
_SMALLEST = 8  # cells of a picture's width


class Wall(Tiles, PictureActions):
    """As large as all of them fit, or as many as have room at the least width: the others are scrolled to."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("pictures"), *STEPS]

    def __init__(self, *, least: int = _SMALLEST, id: str | None = None) -> None:
        super().__init__(id=id)
        self._least = least
        self._labels: Sequence[Label] = ()

    def show(self, pictures: Sequence[Picture], labels: Sequence[Label], at: int) -> None:
        """Show these, each with its label, and that one chosen."""
        self._labels = labels
        self.put(pictures, at)

    def tile(self) -> Tile:
        width, height = self.size
        ratio = self.pictures[0].width / max(1, self.pictures[0].height) if self.pictures else 1.0
        least = _tile(min(self._least, width - 2), ratio)
        wanted = min(len(self.pictures), _hold(least, width, height))
        tiles = (_tile(each, ratio) for each in range(width - 2, self._least, -1))
        return next((tile for tile in tiles if _hold(tile, width, height) >= wanted), least)

    def has_labels(self) -> bool:
        return True

    def label(self, at: int) -> str:
        return self._labels[at](self.tile().width - 1)


def _hold(tile: Tile, width: int, height: int) -> int:
    """How many of them have room."""
    return (width - 1) // (tile.width + 1) * (height // (tile.height + 1))


def _tile(width: int, ratio: float) -> Tile:
    width = max(2, width)
    return Tile(width, max(1, round(width / ratio / 2)))

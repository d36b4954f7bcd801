"""A picture with a mask over it, cell by cell, and what of it is sent when the mask changes.

A change is shown at once, in at most so many bytes: neighbours that look alike are made equal, ever less alike ones,
and what even then has no room waits. `refined` shows the rest by and by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

from sdterm.tui.picture.characters import shade
from sdterm.tui.picture.colours import SYSTEMS, Pixel, quantised
from sdterm.tui.picture.support import Depth

TINTS: Sequence[Pixel] = ((255, 0, 200), (0, 255, 60), (60, 120, 255), (255, 160, 0))
"""The colours that a mask can have: in one of them it differs from any picture."""

_SHOWING = 0.45  # of a covered pixel's brightness
_LEVELS = 4  # of brightness below a mask: fewer colours are fewer bytes
_COVERED = 96  # of 255: so much of what one cell's half shows
_MOVE = 8  # bytes to another place
_TOLERANCES = (0, 17, 34, 68, 136, 272, 544, 6 * 255)


class Cell(NamedTuple):
    """Two pixels, one above the other."""

    upper: Pixel
    lower: Pixel
    covered: int = 0
    """1: the upper one is covered, 2: the lower one, 3: both."""


Rows: TypeAlias = tuple[tuple[Cell, ...], ...]

BARE = Cell((-1, -1, -1), (-1, -1, -1))
"""A cell in which the terminal itself shows the picture's pixels."""
_BARE_COLOURS, _BARE_BYTES = 26, 4  # of its colour and place, and of its character


def cells(
    picture: Image.Image, mask: Image.Image, columns: int, rows: int, depth: Depth, tint: Pixel = TINTS[0]
) -> Rows:
    """What a part of a picture (RGB) and of its mask (L) look like on so many cells."""
    size = columns, 2 * rows
    pixels: NDArray[np.uint8] = np.asarray(picture.resize(size, Image.Resampling.BOX))
    covered = np.asarray(mask.resize(size, Image.Resampling.BOX)) >= _COVERED
    brightness = np.asarray(picture.convert("L").resize(size, Image.Resampling.BOX)).astype(np.int32)
    levels = brightness * _LEVELS // 256
    tinted = [_tinted(tint, level, depth) for level in range(_LEVELS)]
    lines: list[list[tuple[Pixel, bool]]] = [
        [
            (tinted[level], True) if is_covered else (quantised((int(red), int(green), int(blue)), depth), False)
            for (red, green, blue), level, is_covered in zip(*row, strict=True)
        ]
        for row in zip(pixels, levels, covered, strict=True)
    ]
    return tuple(
        tuple(Cell(up, low, is_up + 2 * is_low) for (up, is_up), (low, is_low) in zip(upper, lower, strict=True))
        for upper, lower in zip(lines[::2], lines[1::2], strict=True)
    )


@lru_cache(64)
def _tinted(tint: Pixel, level: int, depth: Depth) -> Pixel:
    """A colour of the palette of 256, which takes half the bytes of one of its own where it may be written as such."""
    bright = 255 * level / (_LEVELS - 1)
    red, green, blue = (round(bright * _SHOWING + part * (1 - _SHOWING)) for part in tint)
    return quantised((red, green, blue), "16" if depth == "16" else "256")


# --- what is sent -----------------------------------------------------------------------------------------------------


def changed(shown: Rows, before: Rows, wanted: Rows, limit: int, depth: Depth, *, all_of_it: bool = False) -> Rows:
    """What to show next, now that another picture is wanted than before: what has changed, in at most so many bytes. A
    cell that has not changed stays as it is shown, however well that is. all_of_it: in more bytes, if it must be."""
    for tolerance in _TOLERANCES:
        rows = tuple(
            tuple(_merged(*row, tolerance)) if row[1] != row[2] else row[0]
            for row in zip(shown, before, wanted, strict=True)
        )
        if cost(shown, rows, depth) <= limit:
            return rows
    return rows if all_of_it else _cut(shown, rows, limit, depth)


def refined(shown: Rows, wanted: Rows, limit: int, depth: Depth) -> Rows:
    """The same with more of it as it is wanted, in about so many bytes; at least one row."""
    return _cut(shown, wanted, limit, depth)


def _cut(shown: Rows, rows: Rows, limit: int, depth: Depth) -> Rows:
    """The first of the rows that differ, as far as there is room."""
    left, cut = limit, []
    for old, new in zip(shown, rows, strict=True):
        needed = cost((old,), (new,), depth)
        is_first = left == limit
        cut.append(new if not needed or (left > 0 and (needed <= left or is_first)) else old)
        left -= needed
    return tuple(cut)


def _merged(shown: Sequence[Cell], before: Sequence[Cell], wanted: Sequence[Cell], tolerance: int) -> Iterator[Cell]:
    run: Cell | None = None
    for now, was, cell in zip(shown, before, wanted, strict=True):
        if was == cell:
            run = None
            yield now
            continue
        cell = _flat(cell, tolerance)
        if run is None or run.covered != cell.covered or _apart(run, cell) > tolerance:
            run = cell
        yield run


def _flat(cell: Cell, tolerance: int) -> Cell:
    """One colour instead of two, which is one byte instead of three, if that is near enough."""
    if cell.covered in (1, 2):  # the edge of a mask is told to half a cell as long as there is room for it
        tint = cell.upper if cell.covered == 1 else cell.lower
        return Cell(tint, tint, 3) if tolerance == _TOLERANCES[-1] else cell
    return Cell(cell.upper, cell.upper, cell.covered) if 0 < _between(cell.upper, cell.lower) <= tolerance else cell


def _apart(one: Cell, other: Cell) -> int:
    return _between(one.upper, other.upper) + _between(one.lower, other.lower)


def _between(one: Pixel, other: Pixel) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) + abs(one[2] - other[2])


def cost(shown: Rows, rows: Rows, depth: Depth) -> int:
    """Bytes to write what differs: places, colours, characters."""
    total = 0
    for old, new in zip(shown, rows, strict=True):
        if old == new:
            continue
        last: Cell | None = None  # written beside it
        for was, cell in zip(old, new, strict=True):
            if was == cell:
                last = None
                continue
            if last is None:
                total += _MOVE
            if last != cell:
                total += _colours(cell, depth)
            total += _BARE_BYTES if cell == BARE else 1 if cell.upper == cell.lower else 3
            last = cell
    return total


@lru_cache(8192)
def _colours(cell: Cell, depth: Depth) -> int:
    if cell == BARE:
        return _BARE_COLOURS
    if depth == "mono":
        return 0
    style = style_of(cell, depth)
    colours = [colour for colour in (style.color, style.bgcolor) if colour]
    return 3 + sum(len(";".join(colour.get_ansi_codes())) + 1 for colour in colours)


# --- what it looks like -----------------------------------------------------------------------------------------------


def segment_of(cell: Cell, depth: Depth) -> Segment:
    if depth == "mono":
        return Segment("x" if cell.covered else shade(cell.upper, cell.lower), Style.null())
    return Segment(" " if cell.upper == cell.lower else "▀", style_of(cell, depth))


@lru_cache(8192)
def style_of(cell: Cell, depth: Depth) -> Style:
    """depth: since a style remembers how it was written first."""
    upper, lower = (_colour(pixel, depth) for pixel in (cell.upper, cell.lower))
    return Style(bgcolor=lower) if cell.upper == cell.lower else Style(color=upper, bgcolor=lower)


@lru_cache(4096)
def _colour(pixel: Pixel, depth: Depth) -> Color:
    colour = Color.from_triplet(ColorTriplet(*pixel))
    return colour if depth == "truecolor" else colour.downgrade(SYSTEMS[depth])

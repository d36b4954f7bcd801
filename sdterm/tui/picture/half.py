"""A picture as half blocks: every cell is an upper half block in two colours, so it shows two pixels anywhere."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeAlias

from PIL import Image
from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from sdterm.tui.picture.support import Depth

Pixel: TypeAlias = tuple[int, int, int]
Run: TypeAlias = tuple[Pixel, Pixel, int]  # upper colour, lower colour, cells

_SHADES = " ░▒▓█"
_STEP = 17  # of a channel, 0 … 255: 16 values
_TOLERANCES = (*(_STEP * steps for steps in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)), 6 * 255)


def half_blocks(
    image: Image.Image, columns: int, rows: int, depth: Depth = "truecolor", limit: int | None = None
) -> list[Strip]:
    """`rows` strips of `columns` cells. `limit`: the most bytes the terminal may be sent for them; neighbours that
    look alike are made equal, ever less alike ones, until it holds. (One colour a row is the end of that.)

    Truecolour has 16 steps a channel: neighbours are equal more often, and nobody sees the difference in pixels as
    large as these. The colours of "256" and "16" are those that Rich, which writes them, has for these depths; "mono"
    is shades of the terminal's own foreground.
    """
    if depth == "mono":
        return _shaded(image, columns, rows)
    small = image.resize((columns, 2 * rows), Image.Resampling.BOX)
    pixels = [_nearest(depth)(pixel) for pixel in _pixels(small)]
    lines = [pixels[start : start + columns] for start in range(0, len(pixels), columns)]
    pairs = [list(zip(upper, lower, strict=True)) for upper, lower in zip(lines[::2], lines[1::2], strict=True)]
    for tolerance in _TOLERANCES:
        runs = [list(_runs(row, tolerance)) for row in pairs]
        if limit is None or _cost(runs, depth) <= limit:
            break
    return [Strip([_segment(run) for run in row], columns) for row in runs]


def quantised(pixel: Pixel, depth: Depth) -> Pixel:
    """The colour that a pixel has at a depth; "mono" keeps it."""
    return pixel if depth == "mono" else _nearest(depth)(pixel)


def shade(upper: Pixel, lower: Pixel) -> str:
    """The character as bright as two pixels are together."""
    return _SHADES[(sum(upper) + sum(lower)) * len(_SHADES) // (6 * 256)]


def _shaded(image: Image.Image, columns: int, rows: int) -> list[Strip]:
    values = image.convert("L").resize((columns, rows), Image.Resampling.BOX).tobytes()
    text = "".join(_SHADES[value * len(_SHADES) // 256] for value in values)
    return [
        Strip([Segment(text[start : start + columns], Style.null())], columns) for start in range(0, len(text), columns)
    ]


def _pixels(image: Image.Image) -> Iterator[Pixel]:
    values = iter(image.tobytes())
    return zip(values, values, values, strict=True)


def _runs(row: list[tuple[Pixel, Pixel]], tolerance: int) -> Iterator[Run]:
    """Neighbours as one run while they differ from the run's first cell by no more than the tolerance, all six channels
    summed."""
    (upper, lower), length = row[0], 0
    for pair in row:
        if _apart(upper, pair[0]) + _apart(lower, pair[1]) > tolerance:
            yield upper, lower, length
            (upper, lower), length = pair, 0
        length += 1
    yield upper, lower, length


def _apart(one: Pixel, other: Pixel) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) + abs(one[2] - other[2])


def _segment(run: Run) -> Segment:
    upper, lower, length = run
    return Segment((" " if upper == lower else "▀") * length, _style(upper, lower))


@lru_cache(4096)
def _style(upper: Pixel, lower: Pixel) -> Style:
    if upper == lower:
        return Style(bgcolor=Color.from_triplet(ColorTriplet(*lower)))
    return Style(color=Color.from_triplet(ColorTriplet(*upper)), bgcolor=Color.from_triplet(ColorTriplet(*lower)))


SYSTEMS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "16": ColorSystem.STANDARD}


def _cost(rows: list[list[Run]], depth: Depth) -> int:
    """Bytes as Textual will write them: the colours, the characters, a reset after each run, a cursor move a row."""
    total = 0
    for row in rows:
        total += 8
        for upper, lower, length in row:
            codes = _code_length(lower, False, depth) + (_code_length(upper, True, depth) + 1 if upper != lower else 0)
            total += codes + 7 + length * (1 if upper == lower else 3)
    return total


@lru_cache(4096)
def _code_length(pixel: Pixel, foreground: bool, depth: Depth) -> int:
    colour = Color.from_triplet(ColorTriplet(*pixel)).downgrade(SYSTEMS[depth])
    return len(";".join(colour.get_ansi_codes(foreground)))


def _nearest(depth: Depth) -> Callable[[Pixel], Pixel]:
    table: dict[str, Callable[[Pixel], Pixel]] = {"truecolor": _of_16_steps, "256": _of_256, "16": _of_16}
    return table[depth]


def _of_16_steps(pixel: Pixel) -> Pixel:
    red, green, blue = pixel
    half = _STEP // 2
    return (red + half) // _STEP * _STEP, (green + half) // _STEP * _STEP, (blue + half) // _STEP * _STEP


@lru_cache(4096)
def _of_256(pixel: Pixel) -> Pixel:
    return _of_palette(pixel, ColorSystem.EIGHT_BIT)


@lru_cache(4096)
def _of_16(pixel: Pixel) -> Pixel:
    return _of_palette(pixel, ColorSystem.STANDARD)


def _of_palette(pixel: Pixel, system: ColorSystem) -> Pixel:
    red, green, blue = Color.from_triplet(ColorTriplet(*pixel)).downgrade(system).get_truecolor()
    return red, green, blue

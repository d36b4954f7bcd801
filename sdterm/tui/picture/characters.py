"""A picture made of characters: each has two colours and shows two, four or six pixels, or as much of one colour in the
other as mixes a third. Without colours, characters are as bright as the picture, or its dots."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from sdterm.tui.picture.colours import STEP, Pixel, code_length, of_16_steps, quantised
from sdterm.tui.picture.shading import mixed_of_16
from sdterm.tui.picture.support import Cells, Depth

SHADES = " ░▒▓█"
_LETTERS = " .:-=+*#%@"  # by how much of their cell is covered
_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
_SEXTANTS = "".join(
    {0: " ", 21: "▌", 42: "▐", 63: "█"}.get(bits, chr(0x1FB00 + bits - 1 - (bits > 21) - (bits > 42)))
    for bits in range(64)
)
_DOTS: dict[Cells, tuple[int, int, str]] = {"quadrant": (2, 2, _QUADRANTS), "sextant": (2, 3, _SEXTANTS)}
"""Across, down, and the characters: the first bit is the upper left dot, the second the one on its right."""
_TOLERANCES = (*(STEP * steps for steps in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)), 6 * 255)
_CUT = 1  # percent of the brightest and of the darkest pixels that are no more told apart


class _Run(NamedTuple):
    """Neighbours of the same two colours."""

    fore: Pixel
    back: Pixel
    text: str


def characters(
    image: Image.Image,
    columns: int,
    rows: int,
    depth: Depth = "truecolor",
    limit: int | None = None,
    cells: Cells = "half",
) -> list[Strip]:
    """`rows` strips of `columns` cells. `limit`: the most bytes the terminal may be sent for them; neighbours that
    look alike are made equal, ever less alike ones, until it holds. (Two colours a row are the end of that.)"""
    cells = "half" if depth == "16" and cells in _DOTS else cells  # shades have more colours than dots would
    if depth == "mono" or cells == "ascii":
        return [_plain(line, columns) for line in _uncoloured(image, columns, rows, cells)]
    lines = [*_fitted(image, columns, rows, cells)] if cells in _DOTS else [*_halves(image, columns, rows)]
    lines = [[_coloured(cell, depth) for cell in line] for line in lines]
    for tolerance in _TOLERANCES:
        runs = [[_final(run, depth) for run in _runs(line, tolerance)] for line in lines]
        if limit is None or sum(8 + sum(_cost(run, depth) for run in line) for line in runs) <= limit:
            break
    return [Strip([Segment(run.text, _style(run.fore, run.back)) for run in line], columns) for line in runs]


def shade(upper: Pixel, lower: Pixel) -> str:
    """The character as bright as two pixels are together."""
    return SHADES[(sum(upper) + sum(lower)) * len(SHADES) // (6 * 256)]


# --- with colours -----------------------------------------------------------------------------------------------------


def _halves(image: Image.Image, columns: int, rows: int) -> Iterator[list[_Run]]:
    """The upper half is the foreground's."""
    pixels: NDArray[np.uint8] = np.asarray(image.resize((columns, 2 * rows), Image.Resampling.BOX))
    lines = [[_pixel(pixel) for pixel in line] for line in pixels.tolist()]
    for upper, lower in zip(lines[::2], lines[1::2], strict=True):
        yield [_Run(up, low, "▀") for up, low in zip(upper, lower, strict=True)]


def _fitted(image: Image.Image, columns: int, rows: int, cells: Cells) -> Iterator[list[_Run]]:
    """Each cell's dots are the brighter or the darker ones of the channel in which they differ most, and have those'
    mean colours."""
    across, down, signs = _DOTS[cells]
    pixels = np.asarray(image.resize((columns * across, rows * down), Image.Resampling.BOX), np.int32)
    dots = pixels.reshape(rows, down, columns, across, 3).transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1, 3)
    lowest, highest = dots.min(axis=2), dots.max(axis=2)
    channel = (highest - lowest).argmax(axis=-1)
    values = np.take_along_axis(dots, channel[:, :, None, None], axis=3)[..., 0]
    is_fore = 2 * values > (values.min(axis=2) + values.max(axis=2))[..., None]
    bits = (is_fore * (1 << np.arange(across * down))).sum(axis=2)
    back = _mean(dots, ~is_fore)
    fore = np.where((bits == 0)[..., None], back, _mean(dots, is_fore))
    for line in zip(fore.tolist(), back.tolist(), bits.tolist(), strict=True):
        yield [_Run(_pixel(up), _pixel(low), signs[number]) for up, low, number in zip(*line, strict=True)]


def _mean(dots: NDArray[np.int32], counted: NDArray[np.bool_]) -> NDArray[np.int32]:
    number = np.maximum(1, counted.sum(axis=2))[..., None]
    mean: NDArray[np.int32] = (dots * counted[..., None]).sum(axis=2) // number
    return mean


def _pixel(channels: list[int]) -> Pixel:
    red, green, blue = channels
    return red, green, blue


def _coloured(cell: _Run, depth: Depth) -> _Run:
    if depth == "16":  # mixed of two pixels, which are not yet of the palette
        return _Run(of_16_steps(cell.fore), of_16_steps(cell.back), cell.text)
    return _Run(quantised(cell.fore, depth), quantised(cell.back, depth), cell.text)


def _runs(line: list[_Run], tolerance: int) -> Iterator[_Run]:
    """Neighbours as one run while they differ from the run's first cell by no more than the tolerance, all six channels
    summed."""
    fore, back, text = line[0]
    for at, cell in enumerate(line[1:]):
        if _apart(fore, cell.fore) + _apart(back, cell.back) > tolerance:
            yield _Run(fore, back, text)
            (fore, back, text) = line[at + 1]
        else:
            text += cell.text
    yield _Run(fore, back, text)


def _apart(one: Pixel, other: Pixel) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) + abs(one[2] - other[2])


def _final(run: _Run, depth: Depth) -> _Run:
    if depth == "16":
        sign, fore, back = mixed_of_16(run.fore, run.back)
        return _Run(fore, back, sign * len(run.text))
    if run.fore == run.back or not run.text.strip():
        return _Run(run.back, run.back, " " * len(run.text))
    return run


def _cost(run: _Run, depth: Depth) -> int:
    """Bytes as Textual will write it: the colours, the characters, a reset."""
    fore = code_length(run.fore, True, depth) + 1 if run.fore != run.back else 0
    return code_length(run.back, False, depth) + fore + 7 + len(run.text.encode())


@lru_cache(4096)
def _style(fore: Pixel, back: Pixel) -> Style:
    if fore == back:
        return Style(bgcolor=Color.from_triplet(ColorTriplet(*back)))
    return Style(color=Color.from_triplet(ColorTriplet(*fore)), bgcolor=Color.from_triplet(ColorTriplet(*back)))


# --- without ----------------------------------------------------------------------------------------------------------


def _uncoloured(image: Image.Image, columns: int, rows: int, cells: Cells) -> Iterator[str]:
    """Brightness, from the darkest that there is to the brightest, becomes characters."""
    grey = image.convert("L")
    across, down, signs = _DOTS.get(cells, (1, 1, _LETTERS if cells == "ascii" else SHADES))
    small = ImageOps.autocontrast(grey.resize((columns * across, rows * down), Image.Resampling.BOX), cutoff=_CUT)
    if across == 1:
        levels = _diffused(np.asarray(small, np.float64) / 255 * (len(signs) - 1), len(signs) - 1)
        yield from ("".join(signs[level] for level in line) for line in levels)
        return
    is_bright = np.asarray(small.convert("1"), np.int32).reshape(rows, down, columns, across).transpose(0, 2, 1, 3)
    bits = (is_bright.reshape(rows, columns, -1) * (1 << np.arange(across * down))).sum(axis=2)
    yield from ("".join(signs[number] for number in line) for line in bits.tolist())


def _diffused(values: NDArray[np.float64], most: int) -> list[list[int]]:
    """Whole numbers up to `most` that are together what the values are: what one lacks its neighbours get, as Floyd and
    Steinberg have it."""
    left: Any = np.pad(values, ((0, 1), (1, 1)))
    whole = []
    for y in range(values.shape[0]):
        line = []
        for x in range(1, values.shape[1] + 1):
            level = max(0, min(most, round(float(left[y, x]))))
            error = left[y, x] - level
            left[y, x + 1] += error * 7 / 16
            left[y + 1, x - 1] += error * 3 / 16
            left[y + 1, x] += error * 5 / 16
            left[y + 1, x + 1] += error / 16
            line.append(level)
        whole.append(line)
    return whole


def _plain(text: str, columns: int) -> Strip:
    return Strip([Segment(text, Style.null())], columns)

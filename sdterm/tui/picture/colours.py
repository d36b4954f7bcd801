"""The colours that a terminal has: all, 256, 16, or none but brightness."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet

from sdterm.tui.picture.support import Depth

Pixel: TypeAlias = tuple[int, int, int]

STEP = 17  # of a channel, 0 … 255: 16 values
SYSTEMS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "16": ColorSystem.STANDARD}


def quantised(pixel: Pixel, depth: Depth) -> Pixel:
    """The colour that a pixel has at a depth; "mono" keeps it.

    Truecolour has 16 steps a channel: neighbours are equal more often, and nobody sees the difference in pixels as
    large as these. The colours of "256" and "16" are those that Rich, which writes them, has for these depths.
    """
    return pixel if depth == "mono" else _NEAREST[depth](pixel)


@lru_cache(4096)
def code_length(pixel: Pixel, foreground: bool, depth: Depth) -> int:
    """Bytes of the escape sequence's part that selects this colour."""
    colour = Color.from_triplet(ColorTriplet(*pixel)).downgrade(SYSTEMS[depth])
    return len(";".join(colour.get_ansi_codes(foreground)))


def of_16_steps(pixel: Pixel) -> Pixel:
    red, green, blue = pixel
    half = STEP // 2
    return (red + half) // STEP * STEP, (green + half) // STEP * STEP, (blue + half) // STEP * STEP


@lru_cache(4096)
def _of_256(pixel: Pixel) -> Pixel:
    return _of_palette(pixel, ColorSystem.EIGHT_BIT)


@lru_cache(4096)
def _of_16(pixel: Pixel) -> Pixel:
    return _of_palette(pixel, ColorSystem.STANDARD)


def _of_palette(pixel: Pixel, system: ColorSystem) -> Pixel:
    red, green, blue = Color.from_triplet(ColorTriplet(*pixel)).downgrade(system).get_truecolor()
    return red, green, blue


_NEAREST: dict[str, Callable[[Pixel], Pixel]] = {"truecolor": of_16_steps, "256": _of_256, "16": _of_16}

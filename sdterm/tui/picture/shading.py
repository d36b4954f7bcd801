"""More than sixteen colours of sixteen: a cell is two pixels of them, or one of them shaded with another."""

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color

from sdterm.tui.picture.colours import Pixel

_SHADED = (("░", 0.25), ("▒", 0.5), ("▓", 0.75))
"""How much of the cell has the foreground's colour."""
_BACKGROUNDS = 8  # the brighter ones are not everywhere background colours
_WEIGHTS = np.array((0.9, 1.2, 0.7))  # how well differences of red, green and blue are seen
_GRAININESS = 0.06  # of the contrast of two colours, since their mixture is no even patch


@lru_cache(16384)
def mixed_of_16(upper: Pixel, lower: Pixel) -> tuple[str, Pixel, Pixel]:
    """The character, foreground and background that look most like two pixels, one above the other."""
    colours, mixtures, graininess, made_of = _palette()
    up, low = np.array(upper), np.array(lower)
    to_up, to_low = _distance(colours, up), _distance(colours, low)
    shaded = _distance(mixtures, up) + _distance(mixtures, low) + graininess
    best = int(shaded.argmin())
    over, under = int(to_up.argmin()), int(to_low[:_BACKGROUNDS].argmin())
    over2, under2 = int(to_low.argmin()), int(to_up[:_BACKGROUNDS].argmin())
    halves, swapped = to_up[over] + to_low[under], to_low[over2] + to_up[under2]
    if shaded[best] <= min(halves, swapped):
        sign, fore, back = made_of[best]
    elif halves <= swapped:
        sign, fore, back = "▀", over, under
    else:
        sign, fore, back = "▄", over2, under2
    if fore == back:
        sign = " "
    return sign, _pixel(fore), _pixel(back)


@cache
def _palette() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[tuple[str, int, int]]]:
    """The sixteen colours, what shades of them look like, how grainy each of these is, and what it is made of."""
    colours = np.array([_pixel(number) for number in range(16)], np.float64)
    made_of = [(sign, fore, back) for back in range(_BACKGROUNDS) for fore in range(16) for sign, _ in _SHADED]
    parts = np.array([part for _ in range(_BACKGROUNDS * 16) for _, part in _SHADED])[:, None]
    fore, back = colours[[fore for _, fore, _ in made_of]], colours[[back for _, _, back in made_of]]
    graininess = _GRAININESS * ((fore - back) ** 2 * _WEIGHTS).sum(axis=1)
    return colours, fore * parts + back * (1 - parts), graininess, made_of


def _distance(colours: NDArray[np.float64], to: NDArray[np.int64]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = ((colours - to) ** 2 * _WEIGHTS).sum(axis=1)
    return distance


@cache
def _pixel(number: int) -> Pixel:
    red, green, blue = Color.from_ansi(number).get_truecolor()
    return red, green, blue

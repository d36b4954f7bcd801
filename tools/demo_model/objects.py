"""The objects of the pictures, each drawn by one small function around a pen's point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .canvas import BLACK, COLORS, RGB, WHITE, Pen, mix

WOOD: RGB = (104, 68, 44)
LEAF: RGB = (60, 140, 66)
INK: RGB = (20, 20, 24)
COAL: RGB = (30, 30, 36)
GLASS: RGB = (200, 230, 244)


# --- Shapes -----------------------------------------------------------------------------------------------------------


def _star(pen: Pen, color: RGB) -> None:
    corners = [(i * math.pi / 5, (0.58, 0.25)[i % 2]) for i in range(10)]
    pen.polygon([(math.sin(a) * radius, -math.cos(a) * radius) for a, radius in corners], color)


def _heart(pen: Pen, color: RGB) -> None:
    t = np.linspace(0, 2 * math.pi, 48)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    pen.polygon(list(zip(x / 32, y / 32, strict=True)), color)


SHAPES: dict[str, Callable[[Pen, RGB], None]] = {
    "circle": lambda pen, color: pen.disc(color),
    "square": lambda pen, color: pen.rect(-0.45, -0.45, 0.45, 0.45, color),
    "triangle": lambda pen, color: pen.polygon(((0, -0.52), (0.54, 0.44), (-0.54, 0.44)), color),
    "star": _star,
    "heart": _heart,
    "diamond": lambda pen, color: pen.polygon(((0, -0.58), (0.42, 0), (0, 0.58), (-0.42, 0)), color),
}


# --- Plants: the pen stands on the ground -----------------------------------------------------------------------------


def pine_tree(pen: Pen, color: RGB = (34, 104, 70)) -> None:
    color = pen.lit(color)
    pen.rect(-0.06, -0.2, 0.06, 0, pen.lit(WOOD))
    for i, (y, w) in enumerate(((-0.15, 0.30), (-0.42, 0.25), (-0.68, 0.19))):
        pen.polygon(((-w, y), (w, y), (0, y - 0.36)), mix(color, WHITE, 0.05 * i))


def _palm_tree(pen: Pen) -> None:
    pen.polygon(((-0.05, 0), (0.05, 0), (0.09, -0.75), (0.03, -0.75)), pen.lit((150, 108, 66)))
    for degrees in (-150, -115, -65, -30, 10, 170):
        x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        frond = (
            (0.06, -0.75),
            (0.06 + x * 0.22 - y * 0.06, -0.75 + y * 0.22 - 0.09),
            (0.06 + x * 0.42, -0.70 + y * 0.34 + 0.10),
            (0.06 + x * 0.18, -0.72 + y * 0.18),
        )
        pen.polygon(frond, pen.lit((44, 140, 74)))


def _round_tree(pen: Pen, color: RGB) -> None:
    color = pen.lit(color)
    pen.rect(-0.055, -0.45, 0.055, 0, pen.lit(WOOD))
    pen.ellipse(-0.32, -0.88, 0.32, -0.32, color)
    pen.ellipse(-0.22, -1.0, 0.20, -0.52, mix(color, WHITE, 0.10))


def _cactus(pen: Pen) -> None:
    color = pen.lit((60, 142, 84))
    pen.rect(-0.10, -0.9, 0.10, 0, color)
    pen.ellipse(-0.10, -1.0, 0.10, -0.8, color)
    pen.rect(-0.36, -0.70, -0.24, -0.36, color)
    pen.rect(-0.36, -0.46, 0, -0.34, color)
    pen.rect(0.22, -0.78, 0.34, -0.30, color)
    pen.rect(0, -0.40, 0.34, -0.28, color)


TREES: dict[str, Callable[[Pen], None]] = {
    "pine tree": pine_tree,
    "palm tree": _palm_tree,
    "tree": lambda pen: _round_tree(pen, (76, 160, 72)),
    "autumn tree": lambda pen: _round_tree(pen, (214, 110, 40)),
    "cactus": _cactus,
}


# --- Buildings: the pen stands on the ground --------------------------------------------------------------------------


class Paint(NamedTuple):
    """The colours of one building, in the picture's light except for its own `color`."""

    color: RGB
    body: RGB
    dark: RGB
    window: RGB


def _house(pen: Pen, paint: Paint) -> None:
    roof = pen.lit((84, 52, 50)) if sum(paint.color) > 200 else pen.lit((190, 60, 52))
    pen.rect(0.16, -0.98, 0.27, -0.62, paint.dark)
    pen.rect(-0.42, -0.55, 0.42, 0, paint.body)
    pen.polygon(((-0.52, -0.53), (0.52, -0.53), (0, -0.98)), roof)
    pen.rect(-0.10, -0.32, 0.10, 0, paint.dark)
    for x in (-0.33, 0.17):
        pen.rect(x, -0.40, x + 0.16, -0.23, paint.window)


def _cabin(pen: Pen, paint: Paint) -> None:
    logs = pen.lit((150, 98, 58))
    pen.rect(-0.46, -0.42, 0.46, 0, logs)
    for y in (-0.34, -0.22, -0.10):
        pen.rect(-0.46, y, 0.46, y + 0.025, mix(logs, BLACK, 0.25))
    roof = paint.color if paint.color != COLORS["brown"] else (86, 58, 48)
    pen.polygon(((-0.58, -0.40), (0.58, -0.40), (0, -0.92)), pen.lit(roof))
    pen.rect(-0.34, -0.33, -0.14, -0.15, paint.window)
    pen.rect(0.06, -0.30, 0.24, 0, mix(logs, BLACK, 0.4))


def _castle(pen: Pen, paint: Paint) -> None:
    for x, height, wall in ((-0.5, 0.80, paint.body), (0.26, 0.80, paint.body), (-0.14, 1.06, paint.dark)):
        pen.rect(x, -height, x + 0.26, 0, wall)
        pen.polygon(((x - 0.04, -height), (x + 0.30, -height), (x + 0.13, -height - 0.30)), pen.lit((200, 64, 60)))
    pen.rect(-0.30, -0.52, 0.30, 0, paint.body)
    pen.rect(-0.10, -0.26, 0.10, 0, mix(paint.body, BLACK, 0.5))
    for x in (-0.41, 0.35):
        pen.rect(x, -0.62, x + 0.08, -0.46, paint.window)


def _lighthouse(pen: Pen, paint: Paint) -> None:
    def half_width(y: float) -> float:
        return 0.18 + 0.06 * y

    pen.polygon(((-0.18, 0), (0.18, 0), (0.12, -1.0), (-0.12, -1.0)), pen.lit((244, 242, 236)))
    for low, high in ((-0.22, -0.42), (-0.64, -0.84)):
        a, b = half_width(low), half_width(high)
        pen.polygon(((-a, low), (a, low), (b, high), (-b, high)), paint.body)
    pen.rect(-0.10, -1.16, 0.10, -1.0, (255, 226, 120))
    pen.polygon(((-0.15, -1.16), (0.15, -1.16), (0, -1.34)), paint.body)


def _tent(pen: Pen, paint: Paint, night: bool) -> None:
    pen.polygon(((-0.55, 0), (0.55, 0), (0, -0.66)), paint.body)
    pen.polygon(((-0.14, 0), (0.16, 0), (0, -0.62)), paint.window if night else paint.dark)


BUILDINGS: dict[str, Callable[[Pen, Paint], None]] = {
    "house": _house,
    "cabin": _cabin,
    "castle": _castle,
    "lighthouse": _lighthouse,
}


def draw_building(pen: Pen, kind: str, color: RGB, night: bool = False) -> None:
    body = pen.lit(color)
    window = (255, 224, 120) if night else pen.lit((190, 226, 240))
    paint = Paint(color, body, mix(body, BLACK, 0.22), window)
    if kind == "tent":
        _tent(pen, paint, night)
    else:
        BUILDINGS[kind](pen, paint)


# --- Single things: the pen is in their middle ------------------------------------------------------------------------


class Shades(NamedTuple):
    """A thing's colour, a darker and a lighter one, and one that shows up on all of them."""

    color: RGB
    dark: RGB
    light: RGB
    ink: RGB

    @classmethod
    def of(cls, color: RGB) -> Shades:
        dark = mix(color, BLACK, 0.25)
        if sum(color) < 150:
            return cls(color, dark, (90, 90, 100), (250, 220, 90))
        return cls(color, dark, mix(color, WHITE, 0.4), (24, 24, 30))


def _eyes(pen: Pen, shades: Shades) -> None:
    for side in (-1, 1):
        pen.ellipse(side * 0.19 - 0.07, -0.12, side * 0.19 + 0.07, 0.05, shades.ink)


def _cat(pen: Pen, shades: Shades) -> None:
    for side in (-1, 1):
        pen.polygon(((side * 0.44, -0.52), (side * 0.42, -0.02), (side * 0.06, -0.26)), shades.color)
        pen.polygon(((side * 0.38, -0.40), (side * 0.37, -0.14), (side * 0.18, -0.26)), (240, 160, 170))
    pen.ellipse(-0.46, -0.36, 0.46, 0.42, shades.color)
    _eyes(pen, shades)
    pen.polygon(((-0.06, 0.10), (0.06, 0.10), (0, 0.17)), (230, 110, 130))
    for side in (-1, 1):
        for y in (0.12, 0.22):
            tip = side * 0.56
            pen.polygon(((side * 0.16, 0.15), (tip, y - 0.02), (tip, y + 0.01), (side * 0.16, 0.175)), shades.ink)


def _dog(pen: Pen, shades: Shades) -> None:
    pen.ellipse(-0.46, -0.36, 0.46, 0.42, shades.color)
    for side in (-1, 1):
        pen.ellipse(side * 0.47 - 0.13, -0.34, side * 0.47 + 0.13, 0.26, shades.dark)
    pen.ellipse(-0.21, 0.02, 0.21, 0.36, shades.light)
    _eyes(pen, shades)
    pen.ellipse(-0.08, 0.04, 0.08, 0.16, shades.ink if sum(shades.color) >= 150 else INK)


def _fish(pen: Pen, shades: Shades) -> None:
    pen.polygon(((0.24, 0), (0.56, -0.28), (0.56, 0.28)), shades.dark)
    pen.ellipse(-0.52, -0.30, 0.36, 0.30, shades.color)
    pen.polygon(((-0.12, -0.26), (0.16, -0.24), (0.06, -0.44)), shades.dark)
    pen.ellipse(-0.38, -0.14, -0.22, 0.02, WHITE)
    pen.ellipse(-0.35, -0.10, -0.26, -0.01, INK)
    pen.polygon(((-0.08, 0.02), (0.12, -0.08), (0.12, 0.14)), shades.light)


def _apple(pen: Pen, shades: Shades) -> None:
    pen.ellipse(-0.46, -0.32, 0.10, 0.46, shades.color)
    pen.ellipse(-0.10, -0.32, 0.46, 0.46, shades.color)
    pen.rect(-0.03, -0.50, 0.04, -0.22, WOOD)
    pen.polygon(((0.04, -0.36), (0.18, -0.52), (0.38, -0.50), (0.20, -0.34)), (70, 160, 70))
    pen.ellipse(-0.34, -0.20, -0.20, 0.02, shades.light)


def _mushroom(pen: Pen, shades: Shades) -> None:
    pen.polygon(((-0.14, -0.04), (0.14, -0.04), (0.20, 0.48), (-0.20, 0.48)), (244, 232, 210))
    pen.dome(-0.5, -0.48, 0.5, 0.52, shades.color)
    spots = (252, 250, 244) if sum(shades.color) < 690 else (220, 80, 80)
    for x, y, radius in ((-0.26, -0.14, 0.08), (0.02, -0.28, 0.10), (0.28, -0.12, 0.07)):
        pen.dot(x, y, radius, spots)


def _flower(pen: Pen, shades: Shades) -> None:
    pen.rect(-0.035, 0, 0.035, 0.56, LEAF)
    pen.polygon(((0.02, 0.44), (0.28, 0.22), (0.20, 0.42)), LEAF)
    for i in range(6):
        angle = i * math.pi / 3
        pen.dot(0.25 * math.cos(angle), -0.16 + 0.25 * math.sin(angle), 0.16, shades.color)
    pen.ellipse(-0.14, -0.30, 0.14, -0.02, (250, 206, 60) if shades.color != COLORS["yellow"] else (150, 90, 40))


def _rocket(pen: Pen, shades: Shades) -> None:
    pen.polygon(((-0.10, 0.34), (0.10, 0.34), (0, 0.62)), (252, 170, 50))
    for side in (-1, 1):
        pen.polygon(((side * 0.12, 0.02), (side * 0.36, 0.36), (side * 0.12, 0.32)), shades.dark)
    right = ((0.14, -0.36), (0.19, -0.06), (0.15, 0.36))
    left = tuple((-x, y) for x, y in reversed(right))
    pen.polygon(((0, -0.60), *right, *left), shades.color)
    pen.ellipse(-0.09, -0.22, 0.09, -0.04, (190, 226, 244))


def _car(pen: Pen, shades: Shades) -> None:
    pen.polygon(((-0.34, -0.04), (-0.20, -0.30), (0.18, -0.30), (0.34, -0.04)), shades.color)
    pen.rect(-0.54, -0.06, 0.54, 0.20, shades.color)
    pen.polygon(((-0.25, -0.06), (-0.15, -0.24), (-0.02, -0.24), (-0.02, -0.06)), GLASS)
    pen.polygon(((0.04, -0.06), (0.04, -0.24), (0.14, -0.24), (0.25, -0.06)), GLASS)
    for x in (-0.30, 0.30):
        pen.ellipse(x - 0.14, 0.07, x + 0.14, 0.35, COAL)
        pen.ellipse(x - 0.06, 0.15, x + 0.06, 0.27, (190, 190, 196))


def _robot(pen: Pen, shades: Shades) -> None:
    pen.rect(-0.02, -0.58, 0.02, -0.42, shades.dark)
    pen.ellipse(-0.05, -0.64, 0.05, -0.54, (232, 70, 60))
    pen.rect(-0.30, -0.44, 0.30, -0.06, shades.color)
    eye = (250, 240, 150) if sum(shades.color) < 600 else (40, 60, 90)
    for side in (-1, 1):
        pen.ellipse(side * 0.14 - 0.07, -0.33, side * 0.14 + 0.07, -0.19, eye)
        pen.rect(side * 0.40 - 0.06, 0.0, side * 0.40 + 0.06, 0.34, shades.dark)
        pen.rect(side * 0.15 - 0.07, 0.40, side * 0.15 + 0.07, 0.56, shades.dark)
    pen.rect(-0.34, -0.02, 0.34, 0.42, shades.color)
    pen.rect(-0.18, 0.08, 0.18, 0.26, shades.light)


def draw_balloon(pen: Pen, color: RGB) -> None:
    """A hot air balloon; it hangs in the sky of landscapes too."""
    color = pen.lit(color, 0.5)
    pen.polygon(((-0.36, 0.22), (0.36, 0.22), (0.11, 0.56), (-0.11, 0.56)), color)
    pen.ellipse(-0.42, -0.48, 0.42, 0.40, color)
    pen.ellipse(-0.15, -0.48, 0.15, 0.42, mix(color, WHITE, 0.45))
    pen.rect(-0.10, 0.58, 0.10, 0.76, (120, 80, 50))


THINGS: dict[str, Callable[[Pen, Shades], None]] = {
    "cat": _cat,
    "dog": _dog,
    "fish": _fish,
    "apple": _apple,
    "mushroom": _mushroom,
    "flower": _flower,
    "rocket": _rocket,
    "car": _car,
    "robot": _robot,
    "tree": lambda pen, shades: _round_tree(pen.lowered(0.5), shades.color),
    "house": lambda pen, shades: draw_building(pen.lowered(0.48), "house", shades.color),
    "hot air balloon": lambda pen, shades: draw_balloon(pen.lowered(-0.1, 0.85), shades.color),
}


def draw_thing(pen: Pen, kind: str, color: RGB) -> None:
    THINGS[kind](pen, Shades.of(color))


# --- Small scenery ----------------------------------------------------------------------------------------------------


def draw_snowman(pen: Pen) -> None:
    snow, outline = pen.lit((252, 252, 255), 0.5), pen.lit((196, 210, 230), 0.5)
    for y, radius in ((-0.26, 0.28), (-0.66, 0.20), (-0.96, 0.15)):
        pen.ellipse(-radius - 0.02, y - radius, radius + 0.02, y + radius + 0.02, outline)
        pen.ellipse(-radius, y - radius, radius - 0.02, y + radius, snow)
    pen.rect(-0.18, -1.12, 0.18, -1.07, COAL)
    pen.rect(-0.11, -1.34, 0.11, -1.10, COAL)
    pen.polygon(((0, -0.98), (0.20, -0.93), (0, -0.90)), (240, 130, 40))
    pen.rect(-0.20, -0.82, 0.20, -0.74, (214, 60, 54))


def draw_sailboat(pen: Pen, color: RGB) -> None:
    sail = pen.lit(color, 0.7)
    pen.rect(-0.02, -0.95, 0.03, 0, pen.lit((90, 60, 44)))
    pen.polygon(((0.05, -0.92), (0.05, -0.12), (0.46, -0.12)), sail)
    pen.polygon(((-0.05, -0.80), (-0.05, -0.12), (-0.34, -0.12)), mix(sail, WHITE, 0.3))
    pen.polygon(((-0.48, -0.06), (0.52, -0.06), (0.34, 0.16), (-0.32, 0.16)), pen.lit((122, 76, 48)))


def draw_bird(pen: Pen, color: RGB) -> None:
    for side in (-1, 1):
        pen.polygon(((0, 0), (side * 0.35, -0.36), (side * 0.7, -0.22), (side * 0.36, -0.18)), color)


def draw_cloud(pen: Pen, color: RGB) -> None:
    for x, y, size in ((-0.5, 0.0, 0.30), (-0.18, -0.16, 0.42), (0.22, -0.04, 0.34)):
        pen.ellipse(x, y, x + size + 0.2, y + size, color)
    pen.rect(-0.4, 0.12, 0.6, 0.28, color)

"""Drawing a landscape, from the sky in the back to the weather in front."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .canvas import COLORS, RGB, WHITE, Canvas, Pen, Point, jitter, mix
from .objects import TREES, draw_balloon, draw_bird, draw_building, draw_cloud, draw_sailboat, draw_snowman, pine_tree
from .scenes import XPOS, Landscape, Placed

SKY: dict[str, tuple[RGB, RGB]] = {
    "day": ((78, 160, 235), (190, 228, 250)),
    "sunset": ((96, 62, 140), (255, 158, 84)),
    "sunrise": ((130, 170, 226), (255, 206, 178)),
    "night": ((10, 14, 44), (38, 52, 104)),
}
TINT: dict[str, tuple[RGB, float]] = {
    "day": (WHITE, 0.0),
    "sunset": ((255, 130, 70), 0.16),
    "sunrise": ((255, 196, 160), 0.12),
    "night": ((12, 18, 52), 0.50),
}
SUN: dict[str, RGB] = {"day": (255, 222, 84), "sunset": (255, 206, 92), "sunrise": (255, 240, 170)}
RAINBOW: tuple[RGB, ...] = (
    (226, 70, 66),
    (244, 160, 60),
    (250, 224, 90),
    (90, 180, 100),
    (70, 120, 220),
    (140, 90, 190),
)
HILLS: dict[str, RGB] = {
    "purple": (118, 84, 168),
    "blue": (78, 122, 190),
    "gray": (122, 128, 140),
    "red": (178, 84, 66),
    "snowy": (150, 164, 188),
    "green": (78, 142, 86),
}
GROUND: dict[str, RGB] = {
    "meadow": (106, 178, 82),
    "snow": (240, 244, 250),
    "desert": (232, 190, 118),
    "lake": (92, 164, 80),
    "sea": (240, 216, 160),
}
BUILDING_SIZE = {"house": 0.32, "cabin": 0.32, "castle": 0.40, "lighthouse": 0.36, "tent": 0.30}


class View(NamedTuple):
    """What the parts of one landscape share."""

    canvas: Canvas
    scene: Landscape
    horizon: float
    top: RGB  # the sky's two colours
    bottom: RGB

    @property
    def night(self) -> bool:
        return self.scene.time == "night"

    def by_time(self, day: RGB, night: RGB) -> RGB:
        return night if self.night else day

    def sky_at(self, y: float) -> RGB:
        return mix(self.top, self.bottom, y / self.horizon)


def draw_landscape(canvas: Canvas, scene: Landscape) -> None:
    canvas.tint = TINT[scene.time]
    view = _sky(canvas, scene)
    if scene.stars:
        _stars(view)
    light_x = XPOS[scene.sky_slot] + canvas.rng.uniform(-0.05, 0.05)  # of sun or moon
    if scene.sun:
        _sun(view, light_x)
    if scene.moon:
        _moon(view, light_x)
    if scene.rainbow:
        _rainbow(view)
    if scene.weather in ("cloudy", "rain", "snowfall"):
        _clouds(view)
    if scene.birds:
        _birds(view)
    if scene.hills:
        _hills(view)
    _objects(view, _ground(view, light_x))
    _weather(view)


# --- Sky --------------------------------------------------------------------------------------------------------------


def _sky(canvas: Canvas, scene: Landscape) -> View:
    top, bottom = (jitter(canvas.rng, color) for color in SKY[scene.time])
    horizon = canvas.rng.uniform(0.55, 0.62)
    night = scene.time == "night"
    if scene.weather in ("rain", "snowfall", "fog"):
        gray, share = ((58, 64, 84), 0.45) if night else ((150, 160, 172), 0.62)
        top = mix(top, gray, share)
        bottom = mix(bottom, mix(gray, WHITE, 0.0 if night else 0.2), share)
    elif scene.weather == "cloudy":
        top = mix(top, (50, 56, 76) if night else (150, 160, 170), 0.22)
        bottom = mix(bottom, (60, 66, 86) if night else (200, 205, 210), 0.22)
    canvas.gradient(top, bottom, 0, horizon + 0.04)
    canvas.polygon([(0, horizon + 0.03), (1, horizon + 0.03), (1, 1), (0, 1)], bottom)
    return View(canvas, scene, horizon, top, bottom)


def _stars(view: View) -> None:
    rng = view.canvas.rng
    for _ in range(rng.randint(26, 40)):
        x, y, size = rng.random(), rng.uniform(0, view.horizon - 0.08), rng.uniform(0.014, 0.024)
        color = mix(view.top, (255, 250, 220), rng.uniform(0.6, 1))
        view.canvas.at(x, y, 1).ellipse(-size / 2, -size / 2, size / 2, size / 2, color)


def _sun(view: View, x: float) -> None:
    rng = view.canvas.rng
    if view.scene.time == "day":
        y, size = rng.uniform(0.14, 0.24), 0.17
    else:
        y, size = view.horizon - rng.uniform(0.10, 0.17), 0.24
    color = SUN[view.scene.time]
    view.canvas.at(x, y, size * 1.5).disc(mix(view.sky_at(y), color, 0.35))
    view.canvas.at(x, y, size).disc(color)


def _moon(view: View, x: float) -> None:
    y = view.canvas.rng.uniform(0.14, 0.24)
    pen = view.canvas.at(x, y, 0.19)
    pen.disc((250, 244, 214))
    if view.scene.moon == "crescent moon":
        pen.ellipse(-0.24, -0.58, 0.70, 0.40, view.sky_at(y))
    else:
        pen.ellipse(-0.25, -0.22, -0.02, 0, (226, 220, 190))
        pen.ellipse(0.06, 0.08, 0.22, 0.24, (226, 220, 190))


def _rainbow(view: View) -> None:
    for i, color in enumerate(RAINBOW):
        size = 0.86 - 0.055 * i
        radius = (size * 0.55, size * 0.52)
        view.canvas.arch((0.5, view.horizon), radius, mix(color, view.bottom, 0.25), thickness=0.03)


def _clouds(view: View) -> None:
    rng, scene = view.canvas.rng, view.scene
    if scene.weather == "cloudy" and scene.time in ("sunset", "sunrise"):
        color: RGB = (250, 196, 180)
    elif scene.weather == "cloudy" and not view.night:
        color = mix((252, 252, 252), view.top, 0.12)
    else:
        color = view.by_time(day=(196, 200, 208), night=(92, 98, 124))
    for i in range(rng.randint(3, 5)):
        x, y, size = (i + rng.uniform(0.1, 0.9)) / 4, rng.uniform(0.06, 0.34), rng.uniform(0.20, 0.32)
        draw_cloud(view.canvas.at(x, y, size), color)


def _birds(view: View) -> None:
    rng = view.canvas.rng
    for _ in range(rng.randint(3, 4)):
        x, y, size = rng.uniform(0.15, 0.85), rng.uniform(0.12, 0.36), rng.uniform(0.055, 0.08)
        draw_bird(view.canvas.at(x, y, size), view.by_time(day=(34, 34, 44), night=(180, 184, 200)))


# --- Land and water ---------------------------------------------------------------------------------------------------


def _hills(view: View) -> None:
    canvas, scene, rng = view.canvas, view.scene, view.canvas.rng
    snowy = scene.hill_color == "snowy"
    color = canvas.lit(jitter(rng, HILLS[scene.hill_color]))
    if scene.hills == "mountains":
        cap = canvas.lit((250, 252, 255), 0.7) if snowy else None
        _ridge(canvas, view.horizon + 0.02, 0.24, rng.choice((3, 4)), mix(color, view.bottom, 0.38))
        _ridge(canvas, view.horizon + 0.03, 0.34, rng.choice((3, 4, 5)), color, cap)
    else:
        color = canvas.lit((232, 238, 246)) if snowy else color
        hill(canvas, view.horizon + 0.02, 0.16, mix(color, view.bottom, 0.3))
        hill(canvas, view.horizon + 0.04, 0.11, color)


def _ridge(canvas: Canvas, y: float, height: float, peaks: int, color: RGB, cap: RGB | None = None) -> None:
    """A jagged skyline with about `peaks` peaks, filled down to the bottom."""
    rng = canvas.rng
    xs = [(i + rng.uniform(-0.25, 0.25)) / peaks for i in range(-1, peaks + 2)]
    rises = ((0.55, 1) if i % 2 else (0, 0.25) for i in range(len(xs)))  # valley, peak, valley, ...
    skyline = [(x, y - height * rng.uniform(*rise)) for x, rise in zip(xs, rises, strict=True)]
    canvas.polygon([(skyline[0][0], 1), *skyline, (skyline[-1][0], 1)], color)
    if cap:
        for i in range(1, len(skyline) - 1, 2):
            _snow_cap(canvas, skyline[i - 1], skyline[i], skyline[i + 1], cap)


def _snow_cap(canvas: Canvas, before: Point, peak: Point, after: Point, color: RGB) -> None:
    (x0, y0), (x, y), (x2, y2) = before, peak, after
    left = (x + (x0 - x) * 0.38, y + (y0 - y) * 0.38)
    right = (x + (x2 - x) * 0.38, y + (y2 - y) * 0.38)
    zigzag = [
        (x + (right[0] - x) * 0.4, right[1] - 0.02),
        (x, right[1] + 0.02),
        (x + (left[0] - x) * 0.4, left[1] - 0.02),
    ]
    canvas.polygon([left, peak, right, *zigzag], color)


def hill(canvas: Canvas, y: float, height: float, color: RGB) -> None:
    """A gentle wave, filled down to the bottom."""
    phase, frequency = canvas.rng.uniform(0, 6.3), canvas.rng.uniform(0.7, 1.3)
    wave = [(x, y - height * (0.5 + 0.5 * math.sin(phase + x * 6.3 * frequency))) for x in np.linspace(0, 1, 24)]
    canvas.polygon([(0, 1), *wave, (1, 1)], color)


def _ground(view: View, light_x: float) -> float:
    """Draw the land, with its forest and water; returns the height on which things stand."""
    canvas, scene, horizon = view.canvas, view.scene, view.horizon
    near = canvas.lit(jitter(canvas.rng, GROUND[scene.ground]))
    if scene.forest:
        _forest(view)
    if scene.ground in ("lake", "sea"):
        shore = _water(view, light_x)
        hill(canvas, shore + 0.03, 0.04, near)
        return shore + 0.08
    if scene.ground == "desert":
        hill(canvas, horizon + 0.07, 0.08, mix(near, view.bottom, 0.2))
        hill(canvas, horizon + 0.17, 0.10, near)
        hill(canvas, horizon + 0.34, 0.08, mix(near, (180, 120, 60), 0.15))
        return horizon + 0.22
    meadow = scene.ground == "meadow"
    hill(canvas, horizon + 0.06, 0.05, mix(near, (40, 110, 70) if meadow else (170, 190, 220), 0.25))
    hill(canvas, horizon + 0.14, 0.05, near)
    if meadow:
        hill(canvas, horizon + 0.36, 0.05, mix(near, (40, 120, 60), 0.18))
    return horizon + 0.21


def _forest(view: View) -> None:
    rng = view.canvas.rng
    for row in (0.0, 0.035):
        color = mix((34, 104, 70), (0, 0, 0), 0.15 - row * 3)
        for i in range(-1, 11):
            x, size = (i + rng.uniform(0.1, 0.9)) / 10, rng.uniform(0.17, 0.25)
            pine_tree(view.canvas.at(x, view.horizon + 0.08 + row, size), color)


def _water(view: View, light_x: float) -> float:
    """Draw lake or sea with what is on it; returns the height of the near shore."""
    canvas, scene, rng = view.canvas, view.scene, view.canvas.rng
    shore = rng.uniform(0.76, 0.80)
    water = canvas.lit((70, 150, 210) if scene.ground == "lake" else (34, 130, 190))
    water = mix(water, view.bottom, 0.42 if scene.time in ("sunset", "sunrise") else 0.15)
    canvas.gradient(mix(water, view.bottom, 0.25), water, view.horizon + 0.02, shore + 0.06)
    for _ in range(9):
        x, y, size = rng.random(), rng.uniform(view.horizon + 0.04, shore), rng.uniform(0.06, 0.16)
        canvas.at(x, y, size).rect(-0.5, -0.04, 0.5, 0.04, mix(water, WHITE, 0.28))
    if (scene.sun and scene.time != "day") or scene.moon:
        _reflection(view, light_x, water)
    if scene.boat:
        x, y = XPOS[scene.boat.slot] + rng.uniform(-0.05, 0.05), shore - rng.uniform(0.07, 0.10)
        draw_sailboat(canvas.at(x, y, 0.22), COLORS[scene.boat.color])
    return shore


def _reflection(view: View, x: float, water: RGB) -> None:
    color = mix(water, view.by_time(day=(255, 226, 150), night=(240, 236, 210)), 0.55)
    for i in range(5):
        view.canvas.at(x, view.horizon + 0.045 + i * 0.035, 0.14 - 0.012 * i).rect(-0.5, -0.07, 0.5, 0.07, color)


# --- Objects ----------------------------------------------------------------------------------------------------------


def _objects(view: View, base: float) -> None:
    canvas, scene, rng = view.canvas, view.scene, view.canvas.rng
    if scene.flowers:
        _flowers(canvas, scene.flowers)
    if scene.trees:
        _trees(canvas, scene.trees, base)
    if scene.building:
        _building(view, scene.building, base)
    if scene.snowman:
        draw_snowman(canvas.at(XPOS[scene.snowman.slot], base + 0.02, 0.26))
    if scene.balloon:
        x, y = XPOS[scene.balloon.slot] + rng.uniform(-0.04, 0.04), rng.uniform(0.18, 0.26)
        draw_balloon(canvas.at(x, y, 0.24), COLORS[scene.balloon.color])


def _flowers(canvas: Canvas, color: str) -> None:
    rng = canvas.rng
    petals, heart = canvas.lit(COLORS[color], 0.7), (190, 120, 40) if color == "yellow" else (255, 220, 90)
    for i in range(16):
        x, y = (i % 8 + rng.uniform(0.2, 0.8)) / 8, 0.86 + 0.08 * (i // 8) + rng.uniform(-0.02, 0.02)
        pen = canvas.at(x, y, 0.042)
        pen.disc(petals)
        pen.ellipse(-0.18, -0.18, 0.18, 0.18, heart)


def _trees(canvas: Canvas, trees: Placed, base: float) -> None:
    rng, n = canvas.rng, trees.count
    spacing = 0.17 if n == 2 else 0.125
    for i in range(n):
        x = XPOS[trees.slot] + (i - (n - 1) / 2) * spacing + rng.uniform(-0.015, 0.015)
        y = base + rng.uniform(-0.02, 0.03)
        size = rng.uniform(0.34, 0.42) * (1, 0.9, 0.8)[n - 1]
        TREES[trees.kind](Pen(canvas, x, y, size * 0.8 if trees.kind == "cactus" else size))


def _building(view: View, building: Placed, base: float) -> None:
    rng = view.canvas.rng
    size = BUILDING_SIZE[building.kind] * rng.uniform(0.94, 1.1)
    x, y = XPOS[building.slot] + rng.uniform(-0.03, 0.03), base + rng.uniform(0, 0.03)
    draw_building(view.canvas.at(x, y, size), building.kind, jitter(rng, COLORS[building.color]), view.night)


# --- Weather in front -------------------------------------------------------------------------------------------------


def _weather(view: View) -> None:
    canvas, rng = view.canvas, view.canvas.rng
    if view.scene.weather == "fog":
        _fog(view)
    elif view.scene.weather == "rain":
        color = view.by_time(day=(206, 220, 236), night=(140, 156, 190))
        for _ in range(56):
            x, y, size = rng.random() * 1.1, rng.random(), rng.uniform(0.05, 0.08)
            canvas.at(x, y, size).polygon(((0, 0), (0.14, 0), (-0.22, 1), (-0.36, 1)), color)
    elif view.scene.weather == "snowfall":
        for _ in range(64):
            canvas.at(rng.random(), rng.random(), rng.uniform(0.014, 0.026)).disc(WHITE)


def _fog(view: View) -> None:
    y = np.linspace(0, 1, view.canvas.height)
    opacity = 0.72 * np.exp(-(((y - view.horizon - 0.03) / 0.16) ** 2))
    view.canvas.veil(view.by_time(day=(205, 212, 220), night=(96, 104, 130)), opacity.astype(np.float32))

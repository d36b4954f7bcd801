"""Prompts that ask for something measurable, each with the measurement that says whether the picture shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from . import measures
from .captions import with_article
from .measures import Picture

COLORS = ("red", "yellow", "green", "blue", "purple", "pink", "white", "black", "orange")
BACKGROUNDS = ("blue", "white", "black", "yellow", "purple", "green", "pink", "gray")
SHAPES = ("circle", "square", "triangle", "star", "heart")


@dataclass(frozen=True)
class Check:
    group: str
    prompt: str
    holds: Callable[[Picture], bool]


def checks() -> list[Check]:
    """In the order that decides the prompts' seeds."""
    groups = (_single_shapes, _sides, _two_shapes, _counts, _things, _times_of_day, _grounds, _houses)
    return [check for group in groups for check in group()]


def _color_pairs() -> list[tuple[str, str]]:
    """Colours of an object and of a background that can be told apart."""
    pairs = ((color, BACKGROUNDS[(i + step) % 8]) for i, color in enumerate(COLORS) for step in (1, 3, 4))
    alike = ({"white", "gray"}, {"black", "gray"})
    return list(islice((pair for pair in pairs if pair[0] != pair[1] and set(pair) not in alike), 24))


def _single_shapes() -> Iterator[Check]:
    def on(background: str) -> Callable[[Picture], bool]:
        return lambda picture: measures.background_color(picture) == background

    def shows(color: str) -> Callable[[Picture], bool]:
        return lambda picture: measures.foreground_color(picture) == color

    for i, (color, background) in enumerate(_color_pairs()):
        prompt = f"{color} {SHAPES[i % 5]} on {with_article(background)} background"
        yield Check("shape: background colour", prompt, on(background))
        yield Check("shape: object colour", prompt, shows(color))


def _sides() -> Iterator[Check]:
    def stands(side: str) -> Callable[[Picture], bool]:
        return lambda picture: measures.side_of_foreground(picture) == side

    for i, (color, background) in enumerate(_color_pairs()[:12]):
        side = ("left", "right")[i % 2]
        prompt = f"{color} {SHAPES[i % 5]} on the {side}, {background} background"
        yield Check("shape: left/right", prompt, stands(side))


def _two_shapes() -> Iterator[Check]:
    def shows(*colors: str) -> Callable[[Picture], bool]:
        return lambda picture: measures.colors_by_side(picture) == colors

    for i in range(8):
        left, right = COLORS[i], COLORS[(i + 3) % 9]
        background = next(color for color in ("white", "black", "gray") if color not in (left, right))
        prompt = f"{left} {SHAPES[i % 5]} on the left, {right} {SHAPES[(i + 2) % 5]} on the right"
        group = "two shapes: both colours bound to their side"
        yield Check(group, f"{prompt}, {background} background", shows(left, right))


def _counts() -> Iterator[Check]:
    def shows(number: int) -> Callable[[Picture], bool]:
        return lambda picture: measures.count_blobs(measures.foreground(picture)) == number

    for i in range(12):
        number, color = 2 + i % 3, COLORS[i % 9]
        background = "white" if color != "white" else "black"
        prompt = f"{('two', 'three', 'four')[number - 2]} {color} {SHAPES[i % 4]}s, {background} background"
        yield Check("shape: count", prompt, shows(number))


def _things() -> Iterator[Check]:
    def shows(color: str, background: str) -> Callable[[Picture], bool]:
        def holds(picture: Picture) -> bool:
            mask = measures.foreground(picture)
            if mask.sum() <= measures.OBJECT_PIXELS or measures.background_color(picture) != background:
                return False
            return bool(measures.color_mask(picture, color)[mask].mean() > 0.25)

        return holds

    objects = ("orange", "black", "gray", "blue", "white", "pink", "red", "yellow")
    backgrounds = ("blue", "white", "green", "yellow", "purple", "black", "white", "teal")
    kinds = (("cat", "dog"), ("car", "fish"), ("flower", "rocket"), ("mushroom", "robot"))
    for i, (color, background) in enumerate(zip(objects, backgrounds, strict=True)):
        for kind in kinds[i % 4]:
            prompt = f"{color} {kind}, {background} background"
            yield Check("thing: colour and background", prompt, shows(color, background))


def _times_of_day() -> Iterator[Check]:
    scenes = (
        "lake, purple mountains",
        "meadow, red house",
        "beach, palm tree",
        "snow, pine tree",
        "desert, cactus",
        "green hills, white castle",
    )
    for scene in scenes:
        yield Check("night sky dark", f"night, {scene}", lambda picture: measures.sky_brightness(picture) < 75)
        yield Check("day sky bright", f"day, blue sky, {scene}", lambda picture: measures.sky_brightness(picture) > 140)
        yield Check("sunset sky warm", f"sunset, {scene}", lambda picture: measures.horizon_warmth(picture) > 8)


def _grounds() -> Iterator[Check]:
    def looks(like: Callable[[np.ndarray], bool]) -> Callable[[Picture], bool]:
        return lambda picture: bool(like(measures.ground_color(picture)))

    for ground, like in (
        ("meadow, green field", lambda rgb: rgb[1] > rgb[0] + 15 and rgb[1] > rgb[2] + 20),
        ("snow, snowy field", lambda rgb: rgb.min() > 175 and np.ptp(rgb) < 40),
        ("desert, sand dunes", lambda rgb: rgb[0] > rgb[2] + 40 and rgb[0] > 150),
    ):
        for scene in ("day, sun", "day, red house", "day, gray mountains", "blue sky, yellow hot air balloon"):
            yield Check("ground colour", f"{scene}, {ground}", looks(like))


def _houses() -> Iterator[Check]:
    def stands(color: str, side: str) -> Callable[[Picture], bool]:
        return lambda picture: measures.side_of_color(picture, color) == side

    colors = ("red", "purple", "pink", "red", "orange", "purple", "pink", "red", "blue", "orange")
    for i, color in enumerate(colors):
        side, extra = ("left", "right")[i % 2], ("pine tree", "clouds", "sun")[i % 3]
        prompt = f"{color} house on the {side}, snow, day, {extra}"
        yield Check("house colour and side", prompt, stands(color, side))

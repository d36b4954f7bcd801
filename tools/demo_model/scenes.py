"""Random scene descriptions: everything drawn is in them, so that captions can be written from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .canvas import COLORS
from .objects import SHAPES, THINGS

XPOS = {"left": 0.22, "center": 0.5, "right": 0.78}
HUES = [color for color in COLORS if color not in ("gray", "brown")]


@dataclass
class Scene:
    style: str | None = None  # a filter over the finished picture


@dataclass(frozen=True)
class Placed:
    """Something in a landscape: what it is or which colour it has, and where it stands."""

    kind: str = ""
    color: str = ""
    count: int = 1
    slot: str = "center"


@dataclass
class Landscape(Scene):
    time: str = "day"
    weather: str = "clear"
    ground: str = "meadow"
    hills: str | None = None
    hill_color: str = ""
    moon: str | None = None
    stars: bool = False
    sun: bool = False
    sky_slot: str = "center"  # where sun or moon stand
    rainbow: bool = False
    birds: bool = False
    building: Placed | None = None
    trees: Placed | None = None
    forest: bool = False
    boat: Placed | None = None
    snowman: Placed | None = None
    flowers: str | None = None
    balloon: Placed | None = None


@dataclass
class Shapes(Scene):
    background: str = "white"
    items: tuple[tuple[str, str], ...] = ()  # (shape, colour); one, or a pair
    size: str = "medium"
    position: str = "center"
    layout: str = "row"
    count: int = 1  # how many of one item


@dataclass
class Thing(Scene):
    kind: str = "cat"
    background: str = "white"  # a colour or a place
    color: str = "orange"


def sample_scene(rng: Random) -> Scene:
    sample = rng.choices((_landscape, _shapes, _thing), (0.55, 0.22, 0.23))[0]
    scene = sample(rng)
    scene.style = rng.choices((None, "blurry", "black and white", "sepia"), (0.92, 0.03, 0.03, 0.02))[0]
    return scene


# --- Landscapes -------------------------------------------------------------------------------------------------------

PLAIN_COLORS = ("red", "blue", "yellow", "white", "green", "purple", "pink", "orange", "black")
BUILDING_COLORS = {
    "castle": ("gray", "white", "pink"),
    "lighthouse": ("red", "red", "blue", "black"),
    "cabin": ("brown", "red", "green"),
}
BUILDINGS_ON = {
    "meadow": ("house", "house", "house", "cabin", "castle", "tent"),
    "snow": ("house", "house", "cabin", "cabin", "castle", "tent"),
    "desert": ("house", "tent", "castle"),
    "lake": ("house", "house", "cabin", "tent", "castle"),
    "sea": ("house", "lighthouse", "lighthouse", "tent"),
}
TREES_ON = {
    "meadow": ("pine tree", "tree", "tree", "autumn tree"),
    "snow": ("pine tree",),
    "desert": ("palm tree", "cactus", "cactus"),
    "lake": ("pine tree", "pine tree", "tree", "autumn tree"),
    "sea": ("palm tree",),
}
BALLOON_COLORS = ("red", "yellow", "orange", "purple", "pink", "blue", "green")


def _landscape(rng: Random) -> Landscape:
    scene = Landscape(
        time=rng.choices(("day", "sunset", "sunrise", "night"), (0.34, 0.23, 0.12, 0.31))[0],
        weather=rng.choices(("clear", "cloudy", "rain", "snowfall", "fog"), (0.56, 0.20, 0.09, 0.08, 0.07))[0],
        ground=rng.choices(("meadow", "snow", "desert", "lake", "sea"), (0.32, 0.17, 0.12, 0.22, 0.17))[0],
    )
    if scene.ground == "desert" and scene.weather in ("rain", "snowfall"):
        scene.weather = "clear"
    _choose_hills(scene, rng)
    if scene.weather in ("clear", "cloudy"):
        _choose_sky(scene, rng)
    scene.birds = rng.random() < 0.12
    slots = list(XPOS)
    rng.shuffle(slots)
    _choose_landmarks(scene, rng, slots)
    _choose_details(scene, rng, slots)
    return scene


def _choose_hills(scene: Landscape, rng: Random) -> None:
    scene.hills = rng.choices((None, "mountains", "hills"), (0.22, 0.53, 0.25))[0]
    if scene.hills == "mountains":
        scene.hill_color = rng.choice(("purple", "blue", "gray", "red", "snowy", "green"))
    elif scene.hills and scene.ground == "snow":
        scene.hill_color = "snowy"
    elif scene.hills:
        scene.hill_color = rng.choice(("green", "green", "purple", "blue"))


def _choose_sky(scene: Landscape, rng: Random) -> None:
    if scene.time == "night":
        scene.moon = rng.choice(("full moon", "crescent moon", "crescent moon", None))
        scene.stars = scene.weather == "clear" and rng.random() < 0.8
    else:
        scene.sun = rng.random() < 0.72
    scene.sky_slot = rng.choice(("left", "center", "right"))
    scene.rainbow = scene.time == "day" and rng.random() < 0.10


def _choose_landmarks(scene: Landscape, rng: Random, slots: list[str]) -> None:
    """Building and trees; they take their places out of `slots`."""
    if rng.random() < 0.62:
        kind = rng.choice(BUILDINGS_ON[scene.ground])
        color = rng.choice(BUILDING_COLORS.get(kind, PLAIN_COLORS))
        scene.building = Placed(kind=kind, color=color, slot=slots.pop())
    if rng.random() < 0.55:
        kind = rng.choice(TREES_ON[scene.ground])
        scene.trees = Placed(kind=kind, count=rng.choices((1, 2, 3), (0.45, 0.33, 0.22))[0], slot=slots.pop())
    else:
        scene.forest = rng.random() < 0.2 and scene.ground in ("meadow", "snow", "lake")


def _choose_details(scene: Landscape, rng: Random, slots: list[str]) -> None:
    if scene.ground in ("lake", "sea") and rng.random() < 0.42:
        color = rng.choice(("white", "red", "blue", "yellow"))
        scene.boat = Placed(color=color, slot=rng.choice(("left", "center", "right")))
    if scene.ground == "snow" and rng.random() < 0.3:
        scene.snowman = Placed(slot=slots.pop())
    if scene.ground == "meadow" and rng.random() < 0.28:
        scene.flowers = rng.choice(("red", "yellow", "pink", "white", "purple", "blue"))
    if scene.weather in ("clear", "cloudy") and rng.random() < 0.15:
        color = rng.choice(BALLOON_COLORS)
        scene.balloon = Placed(color=color, slot=rng.choice([x for x in XPOS if x != scene.sky_slot]))


# --- Shapes and things on plain ground --------------------------------------------------------------------------------

# Pairs too alike to tell apart, as a thing and as the flat colour behind it.
ALIKE = ({"white", "gray"}, {"red", "orange"}, {"blue", "teal"}, {"black", "gray"})
ALIKE_SHAPES = (*ALIKE, {"orange", "yellow"}, {"green", "teal"})
PLACES = ("field", "field", "snow", "space", "space", "sunset")


def _visible(colors: Sequence[str], background: str, alike: Sequence[set[str]]) -> list[str]:
    return [c for c in colors if c != background and {c, background} not in alike]


def _shapes(rng: Random) -> Shapes:
    background = rng.choice(list(COLORS))
    colors = _visible(HUES, background, ALIKE_SHAPES)
    kinds = tuple(SHAPES)
    what = rng.choices(("one", "pair", "same"), (0.56, 0.26, 0.18))[0]
    if what == "pair":
        first, second = rng.sample(colors, 2)
        items = ((rng.choice(kinds), first), (rng.choice(kinds), second))
        return Shapes(background=background, items=items, layout=rng.choices(("row", "column"), (0.75, 0.25))[0])
    item = (rng.choice(kinds), rng.choice(colors))
    if what == "same":
        return Shapes(background=background, items=(item,), count=rng.choice((2, 3, 4)))
    return Shapes(
        background=background,
        items=(item,),
        size=rng.choices(("big", "medium", "small"), (0.25, 0.5, 0.25))[0],
        position=rng.choices(("center", "left", "right", "top", "bottom"), (0.6, 0.1, 0.1, 0.1, 0.1))[0],
    )


def _thing(rng: Random) -> Thing:
    kind = rng.choices(tuple(THINGS), [3, 2] + [1] * 10)[0]
    background = rng.choice([*COLORS, *PLACES])
    alike = (*ALIKE, {"snow", "white"}, {"space", "black"})
    return Thing(
        kind=kind, background=background, color=rng.choice(_visible([*HUES, "gray", "brown"], background, alike))
    )

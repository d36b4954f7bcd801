"""Random captions for scenes: comma tags in random order with omissions, or a short sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .scenes import Landscape, Placed, Scene, Shapes, Thing

UNKNOWN = "\0"  # stands for a word that the model shall not know; training fills in a random one
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
PLURALS = {"cactus": "cacti", "fish": "fish"}
FLUFF = (
    "masterpiece",
    "best quality",
    "highly detailed",
    "flat design",
    "vector art",
    "illustration",
    "minimalist",
    "beautiful",
    "4k",
    "detailed background",
    "high quality",
    "digital art",
    "wallpaper",
    "colorful",
    "sharp focus",
)
STYLE = {
    "blurry": ("blurry", "blurry", "blurred, low quality", "out of focus", "low quality, blurry"),
    "black and white": ("black and white", "monochrome", "grayscale"),
    "sepia": ("sepia", "vintage photo, sepia"),
}


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


@dataclass
class Speaker:
    """Chooses words at random; `care` is how much of a landscape it bothers to mention."""

    rng: Random
    care: float = 1.0

    def pick(self, options: Sequence[str]) -> str:
        return self.rng.choice(options)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def mentions(self, weight: float = 1) -> bool:
        return self.chance(min(1, self.care * weight))

    def where(self, slot: str, probability: float) -> str:
        """Maybe the place, to be put behind a noun."""
        if not self.chance(probability):
            return ""
        if slot == "center":
            return " in the center"
        return self.pick((f" on the {slot}", f" on the {slot}", f" {slot}"))


def caption(scene: Scene, rng: Random) -> str:
    say = Speaker(rng)
    match scene:
        case Landscape():
            say.care = rng.uniform(0.45, 1.15)
            parts = _landscape(scene, say)
        case Shapes():
            parts = _shapes(scene, say)
        case Thing():
            parts = _thing(scene, say)
        case _:
            raise TypeError(f"no captions for {scene!r}")
    if scene.style:
        parts.insert(0 if say.chance(0.5) else len(parts), say.pick(STYLE[scene.style]))
    if say.chance(0.10):
        for _ in range(rng.randint(1, 2)):
            parts.insert(rng.randint(0, len(parts)), say.pick(FLUFF))
    if say.chance(0.10):
        parts.insert(rng.randint(0, len(parts)), " ".join([UNKNOWN] * rng.randint(1, 3)))
    return ", ".join(parts)


# --- Shapes -----------------------------------------------------------------------------------------------------------


def _shapes(scene: Shapes, say: Speaker) -> list[str]:
    ground = scene.background
    background = say.pick(
        (
            f"{ground} background",
            f"on {with_article(ground)} background",
            f"on {ground}",
            f"{ground} background",
        )
    )
    if scene.count > 1:
        ((kind, color),) = scene.items
        words = f"{NUMBERS[scene.count]} {color} {plural(kind)}"
    elif len(scene.items) == 2:
        words = _pair(scene, say)
    else:
        words = _single(scene, say)
    if not say.chance(0.92):
        return [words]
    if background.startswith("on"):
        return [f"{words} {background}"]
    return [background, words] if say.chance(0.15) else [words, background]


def _pair(scene: Shapes, say: Speaker) -> str:
    a, b = (f"{color} {kind}" for kind, color in scene.items)
    if scene.layout == "row":
        return say.pick(
            (
                f"{a} on the left, {b} on the right",
                f"{with_article(a)} to the left of {with_article(b)}",
                f"{a} left, {b} right",
                f"{with_article(a)} and {with_article(b)}",
                f"{a} and {b}",
                f"{b} on the right, {a} on the left",
            )
        )
    return say.pick(
        (
            f"{a} above {b}",
            f"{with_article(a)} above {with_article(b)}",
            f"{a} on top, {b} at the bottom",
            f"{b} below {a}",
        )
    )


def _single(scene: Shapes, say: Speaker) -> str:
    ((kind, color),) = scene.items
    size = ""
    if scene.position == "center" and scene.size != "medium":
        size = say.pick(("big ", "large ") if scene.size == "big" else ("small ", "tiny "))
    words = f"{size}{kind}" if say.chance(0.06) else f"{size}{color} {kind}"
    if say.chance(0.5):
        words = with_article(words)
    place = {"center": "", "left": " on the left", "right": " on the right"}.get(scene.position)
    if place is None:
        place = f" at the {scene.position}"
    return words + (place if say.chance(0.9) else "")


# --- Things -----------------------------------------------------------------------------------------------------------

SYNONYMS = {
    "hot air balloon": ("hot air balloon", "balloon"),
    "cat": ("cat", "cat", "kitten", "cat face"),
    "dog": ("dog", "dog", "puppy"),
    "rocket": ("rocket", "rocket", "spaceship"),
}
CUTE = ("cat", "dog", "kitten", "puppy", "robot")
PLACES = {
    "field": ("grass field, blue sky", "on a green field", "in a meadow", "blue sky, green grass"),
    "snow": ("in the snow", "snow, blue sky"),
    "space": ("in space", "space, stars", "starry sky", "outer space"),
    "sunset": ("at sunset", "sunset", "sunset sky"),
}


def _thing(scene: Thing, say: Speaker) -> list[str]:
    kind, ground = scene.kind, scene.background
    if kind in SYNONYMS:
        kind = say.pick(SYNONYMS[kind])
    cute = say.pick(("cute ", "", "")) if kind in CUTE else ""
    words = cute + (f"{scene.color} {kind}" if say.chance(0.9) else kind)
    if say.chance(0.5):
        words = with_article(words)
    on_color = (
        f"{ground} background",
        f"on {with_article(ground)} background",
        f"{ground} background",
        f"on {ground}",
    )
    background = say.pick(PLACES.get(ground, on_color))
    if not say.chance(0.92):
        return [words]
    if background.split()[0] in ("on", "in", "at"):
        return [f"{words} {background}"]
    return [words, background]


# --- Landscapes -------------------------------------------------------------------------------------------------------

TIMES = {
    "day": ("day", "daytime", "blue sky", "midday", "day"),
    "sunny day": ("day", "daytime", "blue sky", "midday", "sunny day"),
    "sunset": ("sunset", "sunset", "at sunset", "dusk", "evening", "orange sky"),
    "sunrise": ("sunrise", "sunrise", "dawn", "morning", "early morning"),
    "night": ("night", "night", "night sky", "at night", "midnight", "dark"),
}
WEATHER = {
    "clear": ("clear sky", "clear weather"),
    "cloudy": ("clouds", "cloudy", "cloudy sky"),
    "rain": ("rain", "rainy", "raining", "rain"),
    "rainy day": ("rain", "rainy", "raining", "rainy day"),
    "snowfall": ("snowing", "snowfall", "falling snow"),
    "fog": ("fog", "foggy", "mist", "misty"),
}
GROUND = {
    "meadow": ("meadow", "green field", "grass", "green meadow", "field"),
    "snow": ("snow", "snowy field", "winter", "snow covered ground", "snowy"),
    "desert": ("desert", "sand dunes", "desert dunes", "sand"),
    "lake": ("lake", "lake", "by a lake", "calm lake", "water"),
    "sea": ("beach", "sea", "ocean", "seaside", "sandy beach", "coast"),
}
ON_GROUND = {
    "meadow": (" in a meadow", " on a green field", " in a field"),
    "snow": (" in the snow", " in a snowy field"),
    "desert": (" in the desert",),
    "lake": (" by a lake", " by the lake", " near a lake"),
    "sea": (" by the sea", " on the beach", " by the ocean"),
}


def _landscape(scene: Landscape, say: Speaker) -> list[str]:
    """The order of the choices is part of the data: another order is another caption for the same seed."""
    tags: list[str] = []
    day = scene.time == "day"
    time = say.pick(TIMES["sunny day" if day and scene.sun else scene.time])
    if say.chance(0.7 if day else 0.92):
        tags.append(time)
    if say.chance(0.25) if scene.weather == "clear" else say.mentions(0.95):
        tags.append(say.pick(WEATHER["rainy day" if day and scene.weather == "rain" else scene.weather]))
    ground = say.pick(GROUND[scene.ground])
    tags += _hills(scene, say)
    tags += _sky(scene, say)
    building = None
    if scene.building:
        name = _building_name(scene.building, say)
        if say.mentions(1.15):
            building = name
            tags.append((with_article(name) if say.chance(0.25) else name) + say.where(scene.building.slot, 0.4))
    tags += _scenery(scene, say)
    if building and say.chance(0.3):
        others = [tag for tag in tags if building not in tag and tag != time]
        return [_sentence(scene, building, others, say)]
    if say.mentions(1.05) or not tags:
        tags.append(ground)
    say.rng.shuffle(tags)
    return ["landscape", *tags] if say.chance(0.12) else tags


def _hills(scene: Landscape, say: Speaker) -> list[str]:
    if not scene.hills:
        return []
    color, snowy = scene.hill_color, scene.hill_color == "snowy"
    if not say.mentions():
        return [scene.hills] if say.chance(0.3) else []
    if scene.hills == "mountains":
        names = (f"{color} mountains", f"{color} mountains", f"{color} mountain range")
        return [say.pick(names + (("snow capped mountains", "snowy peaks") if snowy else ()))]
    hills = (f"{color} hills", "rolling hills" if say.chance(0.3) else f"{color} hills")
    return [say.pick(hills + (("snowy hill",) if snowy else ()))]


def _sky(scene: Landscape, say: Speaker) -> list[str]:
    tags = []
    if scene.sun and say.mentions(0.9):
        tags.append(say.pick(_sun_names(scene)))
    if scene.moon and say.mentions(0.95):
        moon = say.pick((scene.moon, scene.moon, "moon"))
        tags.append(moon + (f" on the {scene.sky_slot}" if say.chance(0.2) else ""))
    if scene.stars and say.mentions(0.9):
        tags.append(say.pick(("stars", "stars", "starry sky", "starry night")))
    if scene.rainbow and say.mentions():
        tags.append(say.pick(("rainbow", "a rainbow")))
    if scene.birds and say.mentions(0.9):
        tags.append(say.pick(("birds", "flying birds", "flock of birds")))
    return tags


def _sun_names(scene: Landscape) -> tuple[str, ...]:
    if scene.sky_slot == "center":
        return ("sun", "bright sun", "sun in the center")
    setting = "setting sun" if scene.time == "sunset" else "sun"
    return ("sun", "sun", "bright sun", setting, f"sun on the {scene.sky_slot}")


def _building_name(building: Placed, say: Speaker) -> str:
    kind, color = building.kind, building.color
    name = kind
    if say.chance(0.88):
        wooden = kind == "cabin" and color == "brown"
        name = say.pick(("cabin", "wooden cabin", "log cabin")) if wooden else f"{color} {kind}"
    if kind == "lighthouse" and say.chance(0.3):
        return kind
    return name


def _scenery(scene: Landscape, say: Speaker) -> list[str]:
    tags = []
    if scene.trees and say.mentions():
        tags.append(_trees(scene.trees, say) + say.where(scene.trees.slot, 0.3))
    if scene.forest and say.mentions():
        tags.append(say.pick(("forest", "pine forest", "woods", "pine trees")))
    if scene.boat and say.mentions():
        color = scene.boat.color
        boats = (f"{color} sailboat", f"{color} boat", "sailboat", "boat")
        tags.append(say.pick(boats) + say.where(scene.boat.slot, 0.3))
    if scene.snowman and say.mentions():
        tags.append(say.pick(("snowman", "a snowman")) + say.where(scene.snowman.slot, 0.3))
    if scene.flowers and say.mentions():
        tags.append(say.pick((f"{scene.flowers} flowers", f"{scene.flowers} flowers", "flowers")))
    if scene.balloon and say.mentions():
        color = scene.balloon.color
        balloons = (f"{color} hot air balloon", f"{color} balloon", "hot air balloon")
        tags.append(say.pick(balloons) + say.where(scene.balloon.slot, 0.3))
    return tags


def _trees(trees: Placed, say: Speaker) -> str:
    kind = trees.kind
    if trees.count == 1:
        return say.pick((with_article(kind), kind, f"one {kind}"))
    counted = f"{NUMBERS[trees.count]} {plural(kind)}"
    return say.pick((counted, counted, plural(kind)))


def _sentence(scene: Landscape, building: str, tags: list[str], say: Speaker) -> str:
    """Such as "a red house by a lake at sunset with two pine trees and stars"."""
    head = with_article(building) + say.pick(ON_GROUND[scene.ground])
    morning = say.pick((" at sunrise", " in the morning"))
    head += {"day": "", "sunset": " at sunset", "sunrise": morning, "night": " at night"}[scene.time]
    say.rng.shuffle(tags)
    if tags and say.chance(0.6):
        return head + " with " + " and ".join(tags[:2])
    return "".join([head, *(f", {tag}" for tag in tags)])

"""Measure how well a checkpoint shows what was asked: `python -m tools.demo_model.evaluate [CHECKPOINT]`.

Every number is a pixel measurement of pictures that sdterm drew. With `--out`, the pictures are kept too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdterm.core.settings.paths import EMBEDDED_MODEL

from . import measures
from .adherence import Check, checks
from .measures import Picture
from .painter import Painter, sheet

FIRST_SEED = 1000  # of the adherence prompts; each prompt has the next
SAMPLES = (
    "sunset, purple mountains, lake, two pine trees, red house, stars",
    "snowy field, cabin, night sky, crescent moon, stars",
    "a red house by a lake at sunset",
    "blue house on the left, meadow, sunny day, sun on the right",
    "desert, cactus, full moon, night, stars",
    "beach, palm tree, sunrise, white sailboat",
    "lighthouse by the ocean at night, stars",
    "castle, green meadow, rainbow, blue sky",
    "rainy, green field, yellow house, three pine trees",
    "snowman, snowing, snowy mountains, pine tree",
    "red circle on a blue background",
    "green triangle and yellow square, white background",
    "three pink hearts, black background",
    "big yellow star, purple background",
    "orange cat, blue background",
    "cute brown dog in a meadow",
    "red rocket in space",
    "blue fish, teal background",
    "red mushroom on a green field",
    "purple robot, yellow background",
    "yellow hot air balloon, blue sky, green hills",
    "foggy, forest, lake, morning",
    "tent, night, full moon, pine trees, snow",
    "black and white, mountains, lake, sun",
)


# --- Prompt adherence -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adherence:
    """Which checks held, in the order of the checks."""

    results: tuple[tuple[Check, bool], ...]

    @property
    def held(self) -> int:
        return sum(holds for _, holds in self.results)

    @property
    def prompts(self) -> dict[str, bool]:
        """A prompt counts as shown when all of its checks hold."""
        shown: dict[str, bool] = {}
        for check, holds in self.results:
            shown[check.prompt] = shown.get(check.prompt, True) and holds
        return shown

    @property
    def shown(self) -> int:
        return sum(self.prompts.values())

    def groups(self) -> dict[str, tuple[int, int]]:
        """Checks that held, and all of them, by group."""
        groups: dict[str, tuple[int, int]] = {}
        for check, holds in self.results:
            held, all_of_it = groups.get(check.group, (0, 0))
            groups[check.group] = (held + holds, all_of_it + 1)
        return groups


def paint_prompts(painter: Painter, cfg_scale: float) -> dict[str, Picture]:
    """A picture of each prompt that has checks."""
    prompts = dict.fromkeys(check.prompt for check in checks())
    return {prompt: painter.paint(prompt, seed, cfg_scale=cfg_scale) for seed, prompt in enumerate(prompts, FIRST_SEED)}


def adherence(pictures: dict[str, Picture]) -> Adherence:
    return Adherence(tuple((check, check.holds(pictures[check.prompt])) for check in checks()))


# --- Negative prompts -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast:
    """Something to measure with and without a negative prompt."""

    measure: str
    prompt: str
    negative: str
    value: Callable[[Sequence[Picture]], float]

    def means(self, painter: Painter, seeds: Sequence[int] = range(80, 88)) -> tuple[float, float]:
        """Without, and with, the negative prompt."""
        without, negated = (
            self.value([painter.paint(self.prompt, seed, negative_prompt=words) for seed in seeds])
            for words in ("", self.negative)
        )
        return without, negated


def _mean(measure: Callable[[Picture], float]) -> Callable[[Sequence[Picture]], float]:
    return lambda pictures: float(np.mean([measure(picture) for picture in pictures]))


CONTRASTS = (
    Contrast("sky brightness", "meadow, house", "night", _mean(measures.sky_brightness)),
    Contrast("sky brightness", "lake, mountains", "day, blue sky", _mean(measures.sky_brightness)),
    Contrast("colour (mean chroma)", "lake, sunset", "black and white, sepia", _mean(measures.chroma)),
    Contrast("red area", "cat", "red", lambda pictures: measures.area(pictures, "red")),
    Contrast("sharpness", "castle, meadow", "blurry", _mean(measures.sharpness)),
)


# --- The program ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", default=EMBEDDED_MODEL, help="default: the embedded one")
    parser.add_argument("--out", type=Path, help="folder for sheets of the pictures")
    given = parser.parse_args()
    painter = Painter(given.checkpoint)
    for cfg_scale in (7.0, 1.0):
        pictures = paint_prompts(painter, cfg_scale)
        _print_adherence(adherence(pictures), cfg_scale)
        if given.out:
            _keep(list(pictures.values())[:48], 12, given.out / f"adherence-cfg{cfg_scale:g}.png")
    for contrast in CONTRASTS:
        without, negated = contrast.means(painter)
        print(
            f"{contrast.measure}, {contrast.prompt!r}: {without:.4g}, with negative {contrast.negative!r} {negated:.4g}"
        )
    if given.out:
        _keep([painter.paint(prompt, seed) for seed, prompt in enumerate(SAMPLES, 7)], 6, given.out / "samples.png")


def _print_adherence(found: Adherence, cfg_scale: float) -> None:
    print(f"CFG {cfg_scale:g}: {found.shown}/{len(found.prompts)} prompts, {found.held}/{len(found.results)} checks")
    for group, (held, all_of_it) in found.groups().items():
        print(f"  {group}: {held}/{all_of_it}")


def _keep(pictures: Sequence[Picture], columns: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(pictures, columns).save(path, optimize=True)


if __name__ == "__main__":
    main()

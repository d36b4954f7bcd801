"""From scene descriptions to pixels, and the set of pictures that training uses."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from .canvas import COLORS, Canvas, jitter
from .landscape import SKY, draw_landscape, hill
from .objects import SHAPES, draw_thing
from .scenes import Landscape, Scene, Shapes, Thing, sample_scene

Bucket = tuple[int, int]  # width and height in pixels

SPOTS = {"center": (0.5, 0.5), "left": (0.25, 0.5), "right": (0.75, 0.5), "top": (0.5, 0.25), "bottom": (0.5, 0.75)}
SIZES = {"big": 0.80, "medium": 0.54, "small": 0.28}
GROUPS = {
    2: (0.38, ((0.28, 0.5), (0.72, 0.5))),
    3: (0.28, ((0.19, 0.5), (0.5, 0.5), (0.81, 0.5))),
    4: (0.30, ((0.28, 0.28), (0.72, 0.28), (0.28, 0.72), (0.72, 0.72))),
}
PAIRS = {"row": ((0.28, 0.5), (0.72, 0.5)), "column": ((0.5, 0.28), (0.5, 0.72))}


def draw(scene: Scene, size: Bucket, seed: str | int) -> np.ndarray:
    """One picture of the scene, uint8 [H, W, 3]; the seed decides what the description leaves open."""
    canvas = Canvas(*size, Random(seed))
    match scene:
        case Landscape():
            draw_landscape(canvas, scene)
        case Shapes():
            _draw_shapes(canvas, scene)
        case Thing():
            _draw_thing(canvas, scene)
    return canvas.finish(scene.style)


def _draw_shapes(canvas: Canvas, scene: Shapes) -> None:
    canvas.fill(jitter(canvas.rng, COLORS[scene.background], 6))
    if scene.count > 1:
        _draw_group(canvas, scene)
    elif len(scene.items) == 2:
        _draw_pair(canvas, scene)
    else:
        _draw_single(canvas, scene)


def _draw_group(canvas: Canvas, scene: Shapes) -> None:
    size, spots = GROUPS[scene.count]
    ((kind, name),) = scene.items
    color = jitter(canvas.rng, COLORS[name])
    for spot in spots:
        x, y = _near(canvas.rng, spot, 0.015)
        SHAPES[kind](canvas.at(x, y, size), color)


def _draw_pair(canvas: Canvas, scene: Shapes) -> None:
    rng = canvas.rng
    for (kind, name), spot in zip(scene.items, PAIRS[scene.layout], strict=True):
        x, y = _near(rng, spot, 0.02)
        size = 0.37 + rng.uniform(-0.03, 0.03)
        SHAPES[kind](canvas.at(x, y, size), jitter(rng, COLORS[name]))


def _draw_single(canvas: Canvas, scene: Shapes) -> None:
    rng = canvas.rng
    ((kind, name),) = scene.items
    x, y = _near(rng, SPOTS[scene.position], 0.03)
    size = SIZES[scene.size] if scene.position == "center" else min(SIZES[scene.size], 0.42)
    size = size * (1 + rng.uniform(-0.06, 0.06))
    SHAPES[kind](canvas.at(x, y, size), jitter(rng, COLORS[name]))


def _draw_thing(canvas: Canvas, scene: Thing) -> None:
    rng = canvas.rng
    _draw_backdrop(canvas, scene.background)
    x, y = _near(rng, (0.5, 0.5), 0.025)
    size = 0.66 * (1 + rng.uniform(-0.10, 0.10))
    draw_thing(canvas.at(x, y, size), scene.kind, jitter(rng, COLORS[scene.color]))


def _draw_backdrop(canvas: Canvas, background: str) -> None:
    rng = canvas.rng
    if background in COLORS:
        canvas.fill(jitter(rng, COLORS[background], 6))
    elif background == "space":
        canvas.gradient((12, 12, 40), (34, 22, 70))
        for _ in range(36):
            canvas.at(rng.random(), rng.random(), rng.uniform(0.014, 0.026)).disc((250, 246, 220))
    else:
        canvas.gradient(*SKY["sunset" if background == "sunset" else "day"], 0, 0.72)
        land = {"snow": (240, 244, 250), "field": (92, 168, 80), "sunset": (96, 70, 110)}
        hill(canvas, 0.70, 0.06, land[background])


def _near(rng: Random, spot: tuple[float, float], distance: float) -> tuple[float, float]:
    x, y = spot
    return x + rng.uniform(-distance, distance), y + rng.uniform(-distance, distance)


# --- The training set -------------------------------------------------------------------------------------------------


def sample_scenes(bucket: Bucket, n: int, seed: str | int) -> list[Scene]:
    return [sample_scene(Random(f"{seed}-{bucket}-{i}")) for i in range(n)]


def draw_many(bucket: Bucket, scenes: Sequence[Scene], seed: str | int, first: int = 0) -> np.ndarray:
    """Pictures of consecutive scenes of a bucket, the first being number `first`: uint8 [N, H, W, 3]."""
    return np.stack([draw(scene, bucket, f"{seed}-{bucket}-{i}") for i, scene in enumerate(scenes, first)])

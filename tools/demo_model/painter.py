"""Draws a checkpoint's pictures with sdterm's own engine: what is measured is what a user gets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import data_root
from sdterm.events import Failed
from sdterm.events import Image as ImageEvent

from .measures import Picture

SIZE = 128  # pixels, the model's native size
GAP = 4  # pixels between the pictures of a sheet


class Painter:
    """DPM++ 2M on Karras' schedule, 20 steps, one picture a request."""

    def __init__(self, checkpoint: Path) -> None:
        self.engine = Engine(library=Library(data_root(None, {}), chosen=checkpoint))
        self.plugins = load_plugins()

    def paint(self, prompt: str, seed: int, *, cfg_scale: float = 7.0, negative_prompt: str = "") -> Picture:
        request = GenerationRequest(
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=seed,
            cfg_scale=cfg_scale,
            steps=20,
            sampler="DPM++ 2M",
            scheduler="Karras",
            width=SIZE,
            height=SIZE,
        )
        for event in self.engine.run(request, self.plugins):
            match event:
                case ImageEvent():
                    return np.asarray(Image.open(io.BytesIO(event.data)).convert("RGB"))
                case Failed():
                    raise RuntimeError(f"{prompt!r} was not drawn: {event.message}")
        raise RuntimeError(f"{prompt!r} was not drawn")


def sheet(pictures: Sequence[Picture], columns: int) -> Image.Image:
    """The pictures on one white page, row by row."""
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (SIZE + GAP), rows * (SIZE + GAP)), "white")
    for i, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (i % columns * (SIZE + GAP), i // columns * (SIZE + GAP)))
    return page

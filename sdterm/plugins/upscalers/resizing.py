"""A1111's upscalers without weights: Lanczos, Nearest, and None, after which only the last resizing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Upscaler, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray


def lanczos(image: NDArray[Any], scale: float) -> NDArray[Any]:
    return _resized(image, scale, "LANCZOS")


def nearest(image: NDArray[Any], scale: float) -> NDArray[Any]:
    return _resized(image, scale, "NEAREST")


def same(image: NDArray[Any], scale: float) -> NDArray[Any]:
    return image


def _resized(image: NDArray[Any], scale: float, resample: str) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    size = int(image.shape[1] * scale), int(image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling[resample]))


@hookimpl
def sdterm_upscalers() -> list[Upscaler]:
    return [
        Upscaler("none", "None", resize=same),
        Upscaler("lanczos", "Lanczos", resize=lanczos),
        Upscaler("nearest", "Nearest", resize=nearest),
    ]

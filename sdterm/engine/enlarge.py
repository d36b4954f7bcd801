"""Finished pictures made larger, as a request wants it: by one upscaler or two, by a factor or to a size."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdterm.core.library.upscalers import ChosenUpscaler
from sdterm.core.planning.enlargement import Enlargement
from sdterm.engine.run import Run
from sdterm.engine.upscale import Upscaling, upscaled


def enlarge(upscaling: Upscaling, enlargement: Enlargement, image: NDArray[Any]) -> NDArray[Any]:
    """A picture, uint8 [H, W, 3] or with transparency [H, W, 4], made larger. Raises CancelledError, ModelFileError,
    PluginError, UpscaleError. Source: A1111 postprocessing_upscale."""
    number = len(enlargement.upscalers)
    parts = [
        _by(_counting(upscaling, done, number), each, enlargement, image)
        for done, each in enumerate(enlargement.upscalers)
    ]
    if enlargement.second:
        first, second = map(Image.fromarray, parts)
        return np.asarray(Image.blend(first, second, enlargement.visibility))
    return parts[0]


def upscaling_of(run: Run) -> Upscaling:
    """What upscaling works with in a run that draws."""
    tile, overlap = run.request.upscale_tile, run.request.upscale_overlap
    return Upscaling(run.plugins, run.device, tile, overlap, run.cancel, kept=run.upscaler)


def _counting(upscaling: Upscaling, before: int, number: int) -> Upscaling:
    """The same, for one of several upscalers, each of which has its share of the calls."""
    return replace(upscaling, report=lambda done, calls: upscaling.report(before * calls + done, number * calls))


def _by(upscaling: Upscaling, chosen: ChosenUpscaler, enlargement: Enlargement, image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[:2]
    if image.shape[2] == 4:
        larger = _with_alpha(upscaling, chosen, image, enlargement.scale(width, height))
    else:
        larger = upscaled(upscaling, chosen, image, enlargement.scale(width, height))
    return _cropped(larger, enlargement.to) if enlargement.to and enlargement.crop else larger


def _with_alpha(upscaling: Upscaling, chosen: ChosenUpscaler, image: NDArray[Any], scale: float) -> NDArray[Any]:
    """Colours weigh as much as they are seen, or what is hidden would bleed into the edges; alpha is Lanczos."""
    weighed = np.asarray(Image.fromarray(image).convert("RGBa"))
    colours = upscaled(upscaling, chosen, np.ascontiguousarray(weighed[..., :3]), scale)
    height, width = colours.shape[:2]
    alpha = Image.fromarray(np.ascontiguousarray(weighed[..., 3])).resize((width, height), Image.Resampling.LANCZOS)
    larger = np.dstack([np.minimum(colours, np.asarray(alpha)[..., None]), np.asarray(alpha)])
    return np.asarray(Image.frombytes("RGBa", (width, height), larger.tobytes()).convert("RGBA"))


def _cropped(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """In the middle of that size; black where it does not reach, since sides are multiples of 8."""
    picture = Image.fromarray(image)
    cropped = Image.new(picture.mode, size)
    cropped.paste(picture, (size[0] // 2 - picture.width // 2, size[1] // 2 - picture.height // 2))
    return np.asarray(cropped)

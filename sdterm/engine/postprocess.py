"""What a request asks to be done to its finished images."""

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.encode import Finishing
from sdterm.engine.options import given_options
from sdterm.messages import message


def postprocessed(run: Finishing, image: ImagePlan, pixels: NDArray[Any]) -> NDArray[Any]:
    """An image, uint8 [H, W, 3], after the postprocessors that were asked for. Raises PluginError if one fails."""
    for chosen in run.choices.postprocessors():
        postprocessor = chosen.of
        rng = Random(f"{image.seed}:{image.variation_seed}:{postprocessor.id}")
        options = given_options(chosen, run.inputs)
        with run.plugins.guard(postprocessor):
            pixels = postprocessor.apply(pixels.copy(), rng, **options)
            if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3):
                raise TypeError(message("it returned no uint8 image"))
            if pixels.shape[2] != 3 or not pixels.size:
                raise ValueError(message("it returned an image of shape {shape}, not [H, W, 3]", shape=pixels.shape))
    return pixels

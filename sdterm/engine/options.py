"""The options of a plugin's part as its functions take them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdterm.core.inputs import Inputs
from sdterm.core.planning.choices import Addition, Chosen


def given_options(chosen: Chosen[Addition], inputs: Inputs) -> dict[str, Any]:
    """Each option by its name: of an image its pixels, uint8 [H, W, 3], or [H, W, 4] with its transparency, which
    nobody can change; None where there is none. Raises InputError."""
    images = {option.name for option in chosen.of.options if option.is_image}
    return {name: _image(value, inputs) if name in images else value for name, value in chosen.options.items()}


def _image(digest: object, inputs: Inputs) -> NDArray[np.uint8] | None:
    return _pixels(inputs.folder, str(digest)) if digest else None


@lru_cache(maxsize=4)  # a denoise hook is called many times a picture
def _pixels(folder: Path, digest: str) -> NDArray[np.uint8]:
    pixels = np.asarray(Inputs(folder.parent).read(digest))
    pixels.flags.writeable = False
    return pixels

"""What a pipeline's call is given for an image, by the names of its arguments."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from sdterm.engine.run import Run
from sdterm.engine.tapped.asked import asked
from sdterm.modelling.pipelines.calls import arguments_of


def arguments(
    run: Run, pipe: Any, index: int, pass_no: int, generator: torch.Generator, pictures: Sequence[Image.Image] = ()
) -> dict[str, Any]:
    """What a request asks for, and what is the engine's, of that what the call takes."""
    takes = arguments_of(type(pipe).__call__)
    engines = {"generator": generator, "output_type": "pil"}
    return asked(run, pipe, index, pass_no, pictures) | {k: v for k, v in engines.items() if k in takes}

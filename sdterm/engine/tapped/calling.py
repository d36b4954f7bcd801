"""What a pipeline's call is given for an image, by the names of its arguments."""

import inspect
from typing import Any

import torch

from sdterm.engine.run import Run


def arguments(run: Run, pipe: Any, index: int, pass_no: int, generator: torch.Generator) -> dict[str, Any]:
    """Of what a request says, what the pipeline takes. What it does not set is left to the pipeline's own defaults."""
    planned, text = run.plan.passes[pass_no], run.plan.text_of(index, pass_no)
    given: dict[str, Any] = {
        "prompt": text.text,
        "generator": generator,
        "num_inference_steps": planned.steps,
        "height": planned.height,
        "width": planned.width,
        "output_type": "pil",
    }
    if text.negative_prompt:
        given["negative_prompt"] = text.negative_prompt
    given |= run.choices.passes[pass_no].model.pipeline_options
    takes = inspect.signature(type(pipe).__call__).parameters
    return {name: value for name, value in given.items() if name in takes}

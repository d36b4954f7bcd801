"""From a step of a pipeline's scheduler to latents that a preview can be made of."""

from typing import Any

import torch

from sdterm.engine.tapped.clock import Stepped
from sdterm.modelling.pipelines.latents import cleaned, unpacked


def clean_latents(step: Stepped, pipe: Any, width: int, height: int) -> torch.Tensor | None:
    """The clean latents as they are predicted at that step, `[C, h, w]` on the CPU; None where they cannot be had.
    Where nobody knows how to clean them they have their noise."""
    clean = step.clean
    if clean is None:
        clean = cleaned(step.scheduler, step.output, step.timestep, step.sample, step.index)
    latents = unpacked(pipe, (step.previous if clean is None else clean).detach(), width, height)
    return None if latents is None else latents[0].float().cpu()

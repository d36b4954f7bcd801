"""From a step of a pipeline's scheduler to latents that a preview can be made of."""

import torch

from sdterm.engine.tapped.clock import Stepped


def clean_latents(step: Stepped) -> torch.Tensor | None:
    """The clean latents as they are predicted at that step, `[C, h, w]` on the CPU; None where they cannot be had."""
    latents = step.previous.detach()
    return latents[0].float().cpu().mean(0, keepdim=True) if latents.dim() == 4 else None

"""A sampler: Euler's method, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Option, Sampler, StepCallback, hookimpl

if TYPE_CHECKING:
    import torch


def sample(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    strength: float = 1.0,
) -> torch.Tensor:
    """Noisy latents x [B, C, h, w] down the noise levels `sigmas` [n+1] to clean ones."""
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, denoised)
        slope = (x - denoised) / sigmas[i]
        x = x + slope * (sigmas[i + 1] - sigmas[i]) * strength
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    strength = Option("strength", 1.0, "How much of each step is taken.", minimum=0.9, maximum=1.1)
    return [Sampler(id="my_extension", label="My extension", sample=sample, options=(strength,))]

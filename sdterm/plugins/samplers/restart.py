"""Restart."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.euler import S_NOISE
from sdterm.plugins.samplers.heun import heun_step
from sdterm.plugins.schedulers import karras_ramp

if TYPE_CHECKING:
    import torch

_LOW, _HIGH = 0.1, 2.0  # between these sigmas the way is gone again


def restart_steps(sigmas: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(sigma, next sigma) of each step, as many as `sigmas` has. From 20 steps on, 9 of them (from 36 on, twice a
    quarter) go from sigma 2 down to 0.1 once more; all are on Karras schedules then, whatever was chosen."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    sigmas = karras_ramp(steps - length * times, sigmas[-2].item(), sigmas[0].item())
    way = list(pairwise(sigmas))
    low, high = int((sigmas - _LOW).abs().argmin()), int((sigmas - _HIGH).abs().argmin())
    if high >= low:
        return way
    again = karras_ramp(length + 1, sigmas[low].item(), sigmas[high].item())[:-1]
    return [*way[:low], *list(pairwise(again)) * times, *way[low:]]


def sample_restart(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Heun steps that go back up by fresh noise: Xu et al. 2023, "Restart sampling for improving generative
    processes". A1111's restart_sampler."""
    last_sigma = sigmas[0]
    for i, (sigma, sigma_next) in enumerate(restart_steps(sigmas)):
        if last_sigma < sigma:
            x = x + noise(last_sigma, sigma) * s_noise * (sigma**2 - last_sigma**2) ** 0.5
        denoised = denoise(x, sigma.expand(len(x))).x0
        d = (x - denoised) / sigma
        callback(i, denoised)
        x = heun_step(denoise, x, d, sigma, sigma_next)
        last_sigma = sigma_next
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="restart",
            label="Restart",
            aliases=("restart",),
            sample=sample_restart,
            calls_per_step=2,
            default_scheduler="Karras",
            options=(S_NOISE,),
        )
    ]

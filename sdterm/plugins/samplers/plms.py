"""PLMS, on A1111's grid of timesteps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.ddim import ddim_sigmas, ddim_tail

if TYPE_CHECKING:
    import torch


def sample_plms(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, *, noise: Noise, callback: StepCallback
) -> torch.Tensor:
    """Pseudo linear multistep: Liu et al. 2022, "Pseudo numerical methods for diffusion models on manifolds", on
    variance-preserving latents; A1111's timesteps plms. The first step calls twice (improved Euler), later ones use up
    to three earlier predictions (Adams-Bashforth)."""

    def predicted_noise(x: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noisy = x * (1 + sigma**2) ** 0.5  # the same latents, variance exploding
        x0 = denoise(noisy, sigma.expand(len(x))).x0
        return (noisy - x0) / sigma, x0

    def step(x: torch.Tensor, e_t: torch.Tensor, i: int) -> torch.Tensor:
        a_t, a_prev = 1 / (1 + sigmas[i] ** 2), 1 / (1 + sigmas[i + 1] ** 2)
        x0 = (x - (1 - a_t) ** 0.5 * e_t) / a_t**0.5
        return a_prev**0.5 * x0 + (1 - a_prev) ** 0.5 * e_t

    old: list[torch.Tensor] = []  # earlier predictions, latest first
    for i in range(len(sigmas) - 1):
        e_t, x0 = predicted_noise(x, sigmas[i])
        callback(i, x0)
        match old:
            case []:
                e_next, _ = predicted_noise(step(x, e_t, i), sigmas[i + 1])
                e_prime = (e_t + e_next) / 2
            case [e_1]:
                e_prime = (3 * e_t - e_1) / 2
            case [e_1, e_2]:
                e_prime = (23 * e_t - 16 * e_1 + 5 * e_2) / 12
            case [e_1, e_2, e_3]:
                e_prime = (55 * e_t - 59 * e_1 + 37 * e_2 - 9 * e_3) / 24
        x = step(x, e_prime, i)
        old = [e_t, *old][:3]
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="plms",
            label="PLMS",
            aliases=("plms",),
            sample=sample_plms,
            grid="own",
            own_sigmas=ddim_sigmas,
            own_tail=ddim_tail,
            start="unit",
        )
    ]

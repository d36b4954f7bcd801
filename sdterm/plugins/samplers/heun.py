"""Heun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.euler import CHURN, churn

if TYPE_CHECKING:
    import torch


def sample_heun(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = 0.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Algorithm 2 (Heun steps) of Karras et al. 2022, "Elucidating the design space of diffusion-based generative
    models"; k-diffusion's sample_heun."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        denoised = denoise(x, sigma_hat.expand(len(x))).x0
        d = (x - denoised) / sigma_hat
        callback(i, denoised)
        x = heun_step(denoise, x, d, sigma_hat, sigmas[i + 1])
    return x


def heun_step(
    denoise: Denoise, x: torch.Tensor, d: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor
) -> torch.Tensor:
    """From sigma to sigma_next along the mean of the slopes d here and there; the last step, to 0, is Euler's."""
    dt = sigma_next - sigma
    if sigma_next == 0:
        return x + d * dt
    x_2 = x + d * dt
    d_2 = (x_2 - denoise(x_2, sigma_next.expand(len(x))).x0) / sigma_next
    d_prime = (d + d_2) / 2
    return x + d_prime * dt


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="heun",
            label="Heun",
            aliases=("k_heun",),
            sample=sample_heun,
            models=("vp", "flow"),
            calls_per_step=2,
            options=CHURN,
        ),
    ]

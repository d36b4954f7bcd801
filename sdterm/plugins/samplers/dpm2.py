"""DPM2 and DPM2 ancestral."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.euler import CHURN, ETA, S_NOISE, ancestral_step, churn

if TYPE_CHECKING:
    import torch


def sample_dpm_2(
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
    """Midpoint steps inspired by DPM-Solver-2 (Lu et al. 2022) and Algorithm 2 of Karras et al. 2022; k-diffusion's
    sample_dpm_2."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        denoised = denoise(x, sigma_hat.expand(len(x))).x0
        d = (x - denoised) / sigma_hat
        callback(i, denoised)
        x = midpoint_step(denoise, x, d, sigma_hat, sigmas[i + 1])
    return x


def sample_dpm_2_ancestral(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Ancestral sampling with the midpoint steps of DPM2; k-diffusion's sample_dpm_2_ancestral."""
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        sigma_down, sigma_up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        callback(i, denoised)
        d = (x - denoised) / sigmas[i]
        x = midpoint_step(denoise, x, d, sigmas[i], sigma_down)
        if sigma_down > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


def midpoint_step(
    denoise: Denoise, x: torch.Tensor, d: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor
) -> torch.Tensor:
    """From sigma to sigma_next along the slope halfway, in log sigma; the last step, to 0, is Euler's."""
    if sigma_next == 0:
        return x + d * (sigma_next - sigma)
    sigma_mid = sigma.log().lerp(sigma_next.log(), 0.5).exp()
    x_2 = x + d * (sigma_mid - sigma)
    d_2 = (x_2 - denoise(x_2, sigma_mid.expand(len(x))).x0) / sigma_mid
    return x + d_2 * (sigma_next - sigma)


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="dpm_2",
            label="DPM2",
            aliases=("k_dpm_2",),
            sample=sample_dpm_2,
            models=("vp", "flow"),
            calls_per_step=2,
            default_scheduler="Karras",
            discard_penultimate=True,
            options=CHURN,
        ),
        Sampler(
            id="dpm_2_a",
            label="DPM2 a",
            aliases=("k_dpm_2_a",),
            sample=sample_dpm_2_ancestral,
            calls_per_step=2,
            default_scheduler="Karras",
            discard_penultimate=True,
            options=(ETA, S_NOISE),
        ),
    ]

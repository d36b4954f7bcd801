"""DPM++ 2S a."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.euler import ETA, S_NOISE, ancestral_step

if TYPE_CHECKING:
    import torch


def sample_dpmpp_2s_ancestral(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Ancestral sampling with steps of DPM-Solver++(2S): Algorithm 1 of Lu et al. 2022, "DPM-Solver++: fast solver for
    guided sampling of diffusion probabilistic models"; k-diffusion's sample_dpmpp_2s_ancestral. t = -log(sigma)."""
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        sigma_down, sigma_up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        callback(i, denoised)
        if sigma_down == 0:  # Euler
            d = (x - denoised) / sigmas[i]
            x = x + d * (sigma_down - sigmas[i])
        else:
            t, t_next = sigmas[i].log().neg(), sigma_down.log().neg()
            r = 1 / 2
            h = t_next - t
            s = t + r * h
            x_2 = (s.neg().exp() / t.neg().exp()) * x - (-h * r).expm1() * denoised
            denoised_2 = denoise(x_2, s.neg().exp().expand(len(x))).x0
            x = (t_next.neg().exp() / t.neg().exp()) * x - (-h).expm1() * denoised_2
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="dpmpp_2s_a",
            label="DPM++ 2S a",
            aliases=("k_dpmpp_2s_a",),
            sample=sample_dpmpp_2s_ancestral,
            calls_per_step=2,
            default_scheduler="Karras",
            options=(ETA, S_NOISE),
        )
    ]

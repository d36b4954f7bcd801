"""DPM++ 2M."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl

if TYPE_CHECKING:
    import torch


def sample_dpmpp_2m(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, *, noise: Noise, callback: StepCallback
) -> torch.Tensor:
    """DPM-Solver++(2M): Algorithm 2 of Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion
    probabilistic models"; k-diffusion's sample_dpmpp_2m. Times are t = -log(sigma)."""
    old_denoised = None
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, denoised)
        t, t_next = sigmas[i].log().neg(), sigmas[i + 1].log().neg()
        h = t_next - t
        if old_denoised is None or sigmas[i + 1] == 0:
            x = (t_next.neg().exp() / t.neg().exp()) * x - (-h).expm1() * denoised
        else:
            h_last = t - sigmas[i - 1].log().neg()
            r = h_last / h
            denoised_d = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * old_denoised
            x = (t_next.neg().exp() / t.neg().exp()) * x - (-h).expm1() * denoised_d
        old_denoised = denoised
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="dpmpp_2m",
            label="DPM++ 2M",
            aliases=("k_dpmpp_2m",),
            sample=sample_dpmpp_2m,
            models=("vp", "flow"),
            default_scheduler="Karras",
        )
    ]

"""A sampler of your own in one file: the midpoint method.

What lies in the folder `extensions/` is a plugin. Copy this file, change the id and the label at its end, and play with
the loop. docs/plugins/README.md walks through it.
"""

from __future__ import annotations  # keeps the types below as text, so that listing samplers need not load torch

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl

if TYPE_CHECKING:
    import torch


def sample_midpoint(
    denoise: Denoise,  # the network: noisy latents and their noise level in, its guess of the clean latents out
    x: torch.Tensor,  # [B, C, h, w]: the latents, at first nothing but noise of level sigmas[0]
    sigmas: torch.Tensor,  # [steps + 1]: the noise levels to visit, from high to low, the last one 0
    *,
    noise: Noise,  # the only randomness a sampler may use; this one needs none
    callback: StepCallback,  # tells sdterm that a step is under way: the progress bar, the preview
) -> torch.Tensor:
    """The midpoint method on the differential equation dx/dsigma = (x - denoised) / sigma of Karras et al. 2022, with
    the middle taken in log sigma: k-diffusion's sample_dpm_2."""
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]

        # Ask the network where the image is. The way there is the slope: how x changes as the noise falls.
        denoised = denoise(x, sigma.expand(len(x))).x0
        callback(i, denoised)  # once a step
        slope = (x - denoised) / sigma

        # To noise 0 a straight line is right: it ends at `denoised`. (And there is no middle: log 0 is no number.)
        if sigma_next == 0:
            x = x + slope * (sigma_next - sigma)
            continue

        # Else the path bends. Go half the way on a trial run, and look there which way it leads ...
        sigma_mid = (sigma * sigma_next) ** 0.5
        x_mid = x + slope * (sigma_mid - sigma)
        denoised_mid = denoise(x_mid, sigma_mid.expand(len(x))).x0
        slope_mid = (x_mid - denoised_mid) / sigma_mid

        # ... then go the whole way from the start with the slope of the middle, which fits it better.
        x = x + slope_mid * (sigma_next - sigma)
    return x


@hookimpl  # sdterm calls this once, when it loads the plugin
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="example_midpoint",  # no other sampler may have it
            label="Example Midpoint",  # what people see, type after --sampler, and find in the infotext
            sample=sample_midpoint,
            calls_per_step=2,
            default_scheduler="Karras",  # what the scheduler "Automatic" means for this sampler
        )
    ]

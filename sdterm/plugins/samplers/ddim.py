"""DDIM, on A1111's grid of timesteps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, ModelSampling, Noise, Option, Sampler, StepCallback, Tail, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch


def ddim_sigmas(steps: int, sampling: ModelSampling) -> torch.Tensor:
    """The sigmas of timesteps 1, 1+k, 1+2k … (k = 1000 // steps), highest first. The run ends at timestep 1, not at
    0, so there is one call fewer than timesteps: 20 steps make 19 calls."""
    last = len(sampling.sigmas) - 1
    timesteps = [min(t + 1, last) for t in range(0, last + 1, (last + 1) // steps)]
    return sampling.sigmas[timesteps].flip(0)


def ddim_tail(steps: int, kept: int, sampling: ModelSampling, schedule: torch.Tensor) -> Tail:
    """The last `kept` levels, though noise is mixed in at the one above them, as A1111 does."""
    sigmas = ddim_sigmas(steps, sampling)
    return Tail(sigmas[-1 - kept], sigmas[-max(kept, 1) :])


def sample_ddim(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 0.0,
) -> torch.Tensor:
    """Equation 12 of Song et al. 2020, "Denoising diffusion implicit models", on variance-preserving latents:
    x = sqrt(a) x0 + sqrt(1 - a) eps with a = 1 / (1 + sigma^2). Order of operations: A1111's timesteps ddim."""
    for i in range(len(sigmas) - 1):
        a_t, a_prev = 1 / (1 + sigmas[i] ** 2), 1 / (1 + sigmas[i + 1] ** 2)
        sigma_t = eta * ((1 - a_prev) / (1 - a_t) * (1 - a_t / a_prev)) ** 0.5
        noisy = x / a_t**0.5  # the same latents, variance exploding
        x0 = denoise(noisy, sigmas[i].expand(len(x))).x0
        callback(i, x0)
        e_t = (noisy - x0) / sigmas[i]
        dir_xt = (1 - a_prev - sigma_t**2) ** 0.5 * e_t
        x = a_prev**0.5 * x0 + dir_xt
        if eta > 0:
            x = x + sigma_t * noise(sigmas[i], sigmas[i + 1])
    return x


def sample_ddim_cfgpp(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 0.0,
) -> torch.Tensor:
    """DDIM that renoises with the unconditional prediction: Chung et al. 2024, "CFG++: manifold-constrained classifier
    free guidance for diffusion models". The paper's guidance runs from 0 to 1: as in A1111 1.10, the scale asked for is
    divided by 12.5."""
    for i in range(len(sigmas) - 1):
        a_t, a_prev = 1 / (1 + sigmas[i] ** 2), 1 / (1 + sigmas[i + 1] ** 2)
        sigma_t = eta * ((1 - a_prev) / (1 - a_t) * (1 - a_t / a_prev)) ** 0.5
        noisy = x / a_t**0.5
        guided, uncond = denoise(noisy, sigmas[i].expand(len(x)))
        assert uncond is not None  # declared: needs_uncond
        x0 = uncond + (guided - uncond) / 12.5
        callback(i, x0)
        e_uncond = (noisy - uncond) / sigmas[i]
        dir_xt = (1 - a_prev - sigma_t**2) ** 0.5 * e_uncond
        x = a_prev**0.5 * x0 + dir_xt
        if eta > 0:
            x = x + sigma_t * noise(sigmas[i], sigmas[i + 1])
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    eta = Option(
        "eta", 0.0, message("The share of new noise in each step; 0 adds none."), 0.0, 1.0, "Eta DDIM", "eta_ddim"
    )
    return [
        Sampler(
            id="ddim",
            label="DDIM",
            aliases=("ddim",),
            sample=sample_ddim,
            grid="own",
            own_sigmas=ddim_sigmas,
            own_tail=ddim_tail,
            start="unit",
            options=(eta,),
        ),
        Sampler(
            id="ddim_cfgpp",
            label="DDIM CFG++",
            aliases=("ddim_cfgpp",),
            sample=sample_ddim_cfgpp,
            grid="own",
            own_sigmas=ddim_sigmas,
            own_tail=ddim_tail,
            start="unit",
            needs_uncond=True,
            options=(eta,),
        ),
    ]

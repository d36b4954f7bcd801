"""DPM++ SDE, 2M SDE, 2M SDE Heun and 3M SDE: solvers of the diffusion SDE, driven by Brownian motion.

All three are Katherine Crowson's, in k-diffusion, after Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling
of diffusion probabilistic models". Times are t = -log(sigma).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from sdterm.hooks import Denoise, Noise, Sampler, StepCallback, hookimpl
from sdterm.plugins.samplers.euler import ETA, S_NOISE, ancestral_step

if TYPE_CHECKING:
    import torch


def sample_dpmpp_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """DPM-Solver++ (stochastic), one step of order 2 with its midpoint at half of h; k-diffusion's sample_dpmpp_sde."""
    r = 1 / 2
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, denoised)
        if sigmas[i + 1] == 0:  # Euler
            d = (x - denoised) / sigmas[i]
            x = x + d * (sigmas[i + 1] - sigmas[i])
            continue
        t, t_next = sigmas[i].log().neg(), sigmas[i + 1].log().neg()
        h = t_next - t
        s = t + h * r
        fac = 1 / (2 * r)
        sigma, sigma_s, sigma_next = t.neg().exp(), s.neg().exp(), t_next.neg().exp()

        # to the midpoint
        sd, su = ancestral_step(sigma, sigma_s, eta)
        s_ = sd.log().neg()
        x_2 = (s_.neg().exp() / sigma) * x - (t - s_).expm1() * denoised
        x_2 = x_2 + noise(sigma, sigma_s) * s_noise * su
        denoised_2 = denoise(x_2, sigma_s.expand(len(x))).x0

        # and all the way
        sd, su = ancestral_step(sigma, sigma_next, eta)
        t_next_ = sd.log().neg()
        denoised_d = (1 - fac) * denoised + fac * denoised_2
        x = (t_next_.neg().exp() / sigma) * x - (t - t_next_).expm1() * denoised_d
        x = x + noise(sigma, sigma_next) * s_noise * su
    return x


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver: Literal["midpoint", "heun"] = "midpoint",
) -> torch.Tensor:
    """DPM-Solver++(2M) SDE; k-diffusion's sample_dpmpp_2m_sde."""
    old_denoised = h_last = None
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        t, s = -sigmas[i].log(), -sigmas[i + 1].log()
        h = s - t
        eta_h = eta * h
        x = sigmas[i + 1] / sigmas[i] * (-eta_h).exp() * x + (-h - eta_h).expm1().neg() * denoised
        if old_denoised is not None and h_last is not None:
            r = h_last / h
            if solver == "heun":
                x = x + ((-h - eta_h).expm1().neg() / (-h - eta_h) + 1) * (1 / r) * (denoised - old_denoised)
            else:
                x = x + 0.5 * (-h - eta_h).expm1().neg() * (1 / r) * (denoised - old_denoised)
        if eta:
            x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-2 * eta_h).expm1().neg().sqrt() * s_noise
        old_denoised, h_last = denoised, h
    return x


def sample_dpmpp_3m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """DPM-Solver++(3M) SDE; k-diffusion's sample_dpmpp_3m_sde."""
    denoised_1 = denoised_2 = h_1 = h_2 = None
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        callback(i, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        t, s = -sigmas[i].log(), -sigmas[i + 1].log()
        h = s - t
        h_eta = h * (eta + 1)
        x = (-h_eta).exp() * x + (-h_eta).expm1().neg() * denoised
        phi_2 = h_eta.neg().expm1() / h_eta + 1
        if h_1 is not None and h_2 is not None and denoised_1 is not None and denoised_2 is not None:
            r0, r1 = h_1 / h, h_2 / h
            d1_0 = (denoised - denoised_1) / r0
            d1_1 = (denoised_1 - denoised_2) / r1
            d1 = d1_0 + (d1_0 - d1_1) * r0 / (r0 + r1)
            d2 = (d1_0 - d1_1) / (r0 + r1)
            phi_3 = phi_2 / h_eta - 0.5
            x = x + phi_2 * d1 - phi_3 * d2
        elif h_1 is not None and denoised_1 is not None:
            d = (denoised - denoised_1) / (h_1 / h)
            x = x + phi_2 * d
        if eta:
            x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-2 * h * eta).expm1().neg().sqrt() * s_noise
        denoised_1, denoised_2 = denoised, denoised_1
        h_1, h_2 = h, h_1
    return x


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="dpmpp_sde",
            label="DPM++ SDE",
            aliases=("k_dpmpp_sde",),
            sample=sample_dpmpp_sde,
            calls_per_step=2,
            default_scheduler="Karras",
            noise="brownian",
            options=(ETA, S_NOISE),
        ),
        Sampler(
            id="dpmpp_2m_sde",
            label="DPM++ 2M SDE",
            aliases=("k_dpmpp_2m_sde",),
            sample=sample_dpmpp_2m_sde,
            default_scheduler="Exponential",
            noise="brownian",
            options=(ETA, S_NOISE),
        ),
        Sampler(
            id="dpmpp_2m_sde_heun",
            label="DPM++ 2M SDE Heun",
            aliases=("k_dpmpp_2m_sde_heun",),
            sample=partial(sample_dpmpp_2m_sde, solver="heun"),
            default_scheduler="Exponential",
            noise="brownian",
            options=(ETA, S_NOISE),
        ),
        Sampler(
            id="dpmpp_3m_sde",
            label="DPM++ 3M SDE",
            aliases=("k_dpmpp_3m_sde",),
            sample=sample_dpmpp_3m_sde,
            default_scheduler="Exponential",
            noise="brownian",
            discard_penultimate=True,
            options=(ETA, S_NOISE),
        ),
    ]

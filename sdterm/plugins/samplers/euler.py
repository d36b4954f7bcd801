"""Euler and Euler ancestral."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Denoise, Noise, Option, Sampler, StepCallback, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch


def sample_euler(
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
    """Algorithm 2 (Euler steps) of Karras et al. 2022, "Elucidating the design space of diffusion-based generative
    models"; k-diffusion's sample_euler."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        denoised = denoise(x, sigma_hat.expand(len(x))).x0
        d = (x - denoised) / sigma_hat  # slope of the probability-flow ODE
        callback(i, denoised)
        dt = sigmas[i + 1] - sigma_hat
        x = x + d * dt
    return x


def churn(
    x: torch.Tensor,
    sigmas: torch.Tensor,
    i: int,
    noise: Noise,
    s_churn: float,
    s_tmin: float,
    s_tmax: float,
    s_noise: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x, sigma_hat): x with some noise added before step i, and its new sigma. An s_tmax of 0 means no upper limit,
    as in A1111."""
    n = len(sigmas) - 1
    within = s_tmin <= sigmas[i] <= (s_tmax or float("inf"))
    gamma = min(s_churn / n, 2**0.5 - 1) if within else 0.0
    sigma_hat = sigmas[i] * (gamma + 1)
    if s_churn > 0:  # the reference draws at every step; without churn nobody sees the draws
        eps = noise(sigmas[i], sigmas[i + 1]) * s_noise
        if gamma > 0:
            x = x + eps * (sigma_hat**2 - sigmas[i] ** 2) ** 0.5
    return x, sigma_hat


def ancestral_step(
    sigma_from: torch.Tensor, sigma_to: torch.Tensor, eta: float
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """(sigma_down, sigma_up): how far to step down, and how much noise to add back, to arrive at sigma_to."""
    if not eta:
        return sigma_to, 0.0
    up = eta * (sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2) ** 0.5
    sigma_up = min(sigma_to, up)
    return (sigma_to**2 - sigma_up**2) ** 0.5, sigma_up


def sample_euler_ancestral(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    *,
    noise: Noise,
    callback: StepCallback,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Ancestral sampling with Euler steps; k-diffusion's sample_euler_ancestral."""
    for i in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[i].expand(len(x))).x0
        sigma_down, sigma_up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        callback(i, denoised)
        d = (x - denoised) / sigmas[i]
        dt = sigma_down - sigmas[i]
        x = x + d * dt
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


S_NOISE = Option(
    "s_noise", 1.0, message("Factor for all noise that is added while sampling."), 0.0, 2.0, "Sigma noise", "s_noise"
)
ETA = Option("eta", 1.0, message("The share of new noise in each step; 0 adds none."), 0.0, 1.0, "Eta", "eta_ancestral")
CHURN = (
    Option(
        "s_churn",
        0.0,
        message("Noise that is added and removed again during sampling; 0 adds none."),
        0.0,
        100.0,
        "Sigma churn",
        "s_churn",
    ),
    Option("s_tmin", 0.0, message("Add churn only above this sigma."), 0.0, 100.0, "Sigma tmin", "s_tmin"),
    Option(
        "s_tmax",
        0.0,
        message("Add churn only below this sigma; 0 means no limit."),
        0.0,
        1000.0,
        "Sigma tmax",
        "s_tmax",
    ),
    S_NOISE,
)


@hookimpl
def sdterm_samplers() -> list[Sampler]:
    return [
        Sampler(
            id="euler_a",
            label="Euler a",
            aliases=("k_euler_a", "k_euler_ancestral"),
            sample=sample_euler_ancestral,
            options=(ETA, S_NOISE),
        ),
        Sampler(
            id="euler", label="Euler", aliases=("k_euler",), sample=sample_euler, models=("vp", "flow"), options=CHURN
        ),
    ]

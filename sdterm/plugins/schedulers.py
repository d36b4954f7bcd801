"""Noise schedules: those of A1111 1.9, and those that 1.10 added.

`sigma_min` and `sigma_max` of 0 mean the model's own, as in A1111.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdterm.hooks import ModelSampling, Option, Scheduler, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

# NVIDIA's optimized levels for 10 steps (research.nvidia.com/labs/toronto-ai/AlignYourSteps).
_ALIGNED = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)


def uniform(n: int, sampling: ModelSampling) -> torch.Tensor:
    """The sigmas at n timesteps spaced evenly from the last to the first; k-diffusion's get_sigmas."""
    import torch

    start, end = _ends(sampling)
    return _append_zero(sampling.t_to_sigma(torch.linspace(start, end, n)))


def karras(
    n: int, sampling: ModelSampling, *, sigma_min: float = 0.0, sigma_max: float = 0.0, rho: float = 0.0
) -> torch.Tensor:
    """Equation 5 of Karras et al. 2022, "Elucidating the design space of diffusion-based generative models"."""
    return karras_ramp(n, sigma_min or sampling.sigma_min, sigma_max or sampling.sigma_max, rho or 7.0)


def karras_ramp(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> torch.Tensor:
    """float32 [n+1], even in sigma^(1/rho), then 0; k-diffusion's get_sigmas_karras."""
    import torch

    ramp = torch.linspace(0, 1, n)
    min_inv_rho = sigma_min ** (1 / rho)
    max_inv_rho = sigma_max ** (1 / rho)
    return _append_zero((max_inv_rho + ramp * (min_inv_rho - max_inv_rho)) ** rho)


def exponential(n: int, sampling: ModelSampling, *, sigma_min: float = 0.0, sigma_max: float = 0.0) -> torch.Tensor:
    """Even in log sigma; k-diffusion's get_sigmas_exponential."""
    import torch

    high, low = math.log(sigma_max or sampling.sigma_max), math.log(sigma_min or sampling.sigma_min)
    return _append_zero(torch.linspace(high, low, n).exp())


def polyexponential(
    n: int, sampling: ModelSampling, *, sigma_min: float = 0.0, sigma_max: float = 0.0, rho: float = 0.0
) -> torch.Tensor:
    """A polynomial in log sigma; k-diffusion's get_sigmas_polyexponential."""
    import torch

    high, low = math.log(sigma_max or sampling.sigma_max), math.log(sigma_min or sampling.sigma_min)
    ramp = torch.linspace(1, 0, n) ** (rho or 1.0)
    return _append_zero((ramp * (high - low) + low).exp())


def sgm_uniform(n: int, sampling: ModelSampling) -> torch.Tensor:
    """Uniform without its last point: of n + 1 timesteps the first n, as Stability's generative-models has it."""
    import torch

    start, end = _ends(sampling)
    return _append_zero(sampling.t_to_sigma(torch.linspace(start, end, n + 1)[:-1]))


def kl_optimal(n: int, sampling: ModelSampling, *, sigma_min: float = 0.0, sigma_max: float = 0.0) -> torch.Tensor:
    """Even in arctan(sigma): section 3.3 of Sabour et al. 2024, "Align your steps". A1111 1.10 stops at the smallest
    sigma where others have 0."""
    import torch

    low, high = math.atan(sigma_min or sampling.sigma_min), math.atan(sigma_max or sampling.sigma_max)
    position = torch.arange(n + 1) / n
    return (position * low + (1 - position) * high).tan()


def align_your_steps(n: int, sampling: ModelSampling) -> torch.Tensor:
    """Levels found by minimizing the error of 10 steps: Sabour et al. 2024, "Align your steps: optimizing sampling
    schedules in diffusion models"; for other counts interpolated in log sigma."""
    import numpy as np
    import torch

    rising = np.log(_ALIGNED[::-1])  # so that one step is at the smallest, as in A1111
    sigmas = np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(rising)), rising))[::-1]
    return _append_zero(torch.tensor(sigmas.copy(), dtype=torch.float32))


def simple(n: int, sampling: ModelSampling) -> torch.Tensor:
    """Every T/n-th of the model's sigmas from the last; ComfyUI's simple_scheduler."""
    import torch

    stride = len(sampling.sigmas) / n
    return _append_zero(torch.stack([sampling.sigmas[-(1 + int(i * stride))] for i in range(n)]))


def ddim_uniform(n: int, sampling: ModelSampling) -> torch.Tensor:
    """Every (T div n)-th of the model's sigmas from the second, which may be more than n; ComfyUI's ddim_scheduler."""
    stride = max(len(sampling.sigmas) // n, 1)
    return _append_zero(sampling.sigmas[1::stride].flip(0))


def beta(n: int, sampling: ModelSampling, *, alpha: float = 0.6, beta: float = 0.6) -> torch.Tensor:
    """Quantiles of a beta distribution: Lee et al. 2024, "Beta sampling is all you need"."""
    import numpy as np
    import torch
    from scipy import stats

    quantiles = stats.beta.ppf(1 - np.linspace(0, 1, n), alpha, beta)
    low, high = sampling.sigma_min, sampling.sigma_max
    return _append_zero(torch.tensor(low + quantiles * (high - low), dtype=torch.float32))


def _ends(sampling: ModelSampling) -> tuple[float, float]:
    """The timesteps of the largest and the smallest sigma."""
    t = sampling.sigma_to_t(sampling.sigmas[[-1, 0]])
    return t[0].item(), t[1].item()


def _append_zero(sigmas: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([sigmas, sigmas.new_zeros(1)])


@hookimpl
def sdterm_schedulers() -> list[Scheduler]:
    low = Option(
        "sigma_min", 0.0, message("The smallest sigma; 0 is the model's."), 0.0, 10.0, "Schedule min sigma", "sigma_min"
    )
    high = Option(
        "sigma_max",
        0.0,
        message("The largest sigma; 0 is the model's."),
        0.0,
        1000.0,
        "Schedule max sigma",
        "sigma_max",
    )
    rho = Option(
        "rho",
        0.0,
        message("How densely the steps are placed at low noise; 0 is the usual value."),
        0.0,
        20.0,
        "Schedule rho",
        "rho",
    )
    shape = (
        Option(
            "alpha",
            0.6,
            message("The first shape parameter of the beta distribution."),
            0.01,
            10.0,
            "Beta schedule alpha",
            "beta_dist_alpha",
        ),
        Option(
            "beta",
            0.6,
            message("The second shape parameter of the beta distribution."),
            0.01,
            10.0,
            "Beta schedule beta",
            "beta_dist_beta",
        ),
    )
    return [
        Scheduler(id="uniform", label="Uniform", sigmas=uniform),
        Scheduler(id="karras", label="Karras", sigmas=karras, options=(low, high, rho)),
        Scheduler(id="exponential", label="Exponential", sigmas=exponential, options=(low, high)),
        Scheduler(id="polyexponential", label="Polyexponential", sigmas=polyexponential, options=(low, high, rho)),
        Scheduler(id="sgm_uniform", label="SGM Uniform", aliases=("SGMUniform",), sigmas=sgm_uniform),
        Scheduler(id="kl_optimal", label="KL Optimal", sigmas=kl_optimal, options=(low, high)),
        Scheduler(id="align_your_steps", label="Align Your Steps", sigmas=align_your_steps, models=("vp",)),
        Scheduler(id="simple", label="Simple", sigmas=simple),
        Scheduler(id="normal", label="Normal", sigmas=uniform),
        Scheduler(id="ddim", label="DDIM", sigmas=ddim_uniform),
        Scheduler(id="beta", label="Beta", sigmas=beta, options=shape),
    ]

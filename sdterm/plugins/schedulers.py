"""Noise schedules of A1111 1.9: Uniform, Karras, Exponential."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdterm.hooks import ModelSampling, Option, Scheduler, hookimpl

if TYPE_CHECKING:
    import torch


def uniform(n: int, sampling: ModelSampling) -> torch.Tensor:
    """The sigmas at n timesteps spaced evenly from the last to the first; k-diffusion's get_sigmas."""
    import torch

    t = torch.linspace(len(sampling.sigmas) - 1, 0, n)
    return _append_zero(sampling.t_to_sigma(t))


def karras(n: int, sampling: ModelSampling, *, rho: float = 7.0) -> torch.Tensor:
    """Equation 5 of Karras et al. 2022: even in sigma^(1/rho); k-diffusion's get_sigmas_karras."""
    import torch

    ramp = torch.linspace(0, 1, n)
    min_inv_rho = sampling.sigma_min ** (1 / rho)
    max_inv_rho = sampling.sigma_max ** (1 / rho)
    return _append_zero((max_inv_rho + ramp * (min_inv_rho - max_inv_rho)) ** rho)


def exponential(n: int, sampling: ModelSampling) -> torch.Tensor:
    """Even in log sigma; k-diffusion's get_sigmas_exponential."""
    import torch

    return _append_zero(torch.linspace(math.log(sampling.sigma_max), math.log(sampling.sigma_min), n).exp())


def _append_zero(sigmas: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([sigmas, sigmas.new_zeros(1)])


@hookimpl
def sdterm_schedulers() -> list[Scheduler]:
    rho = Option("rho", 7.0, "How much the steps crowd at low noise.", 0.1, 20.0)
    return [
        Scheduler(id="uniform", label="Uniform", sigmas=uniform),
        Scheduler(id="karras", label="Karras", sigmas=karras, options=(rho,)),
        Scheduler(id="exponential", label="Exponential", sigmas=exponential),
    ]

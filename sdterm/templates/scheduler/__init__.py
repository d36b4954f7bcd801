"""A noise schedule: sigmas that fall evenly, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import ModelSampling, Scheduler, hookimpl

if TYPE_CHECKING:
    import torch


def sigmas(n: int, sampling: ModelSampling) -> torch.Tensor:
    """float32 [n+1]: n falling noise levels, then 0."""
    import torch

    return torch.cat([torch.linspace(sampling.sigma_max, sampling.sigma_min, n), torch.zeros(1)])


@hookimpl
def sdterm_schedulers() -> list[Scheduler]:
    return [Scheduler(id="my_extension", label="My extension", sigmas=sigmas)]

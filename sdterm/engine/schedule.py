"""The noise levels of a run: from scheduler, sampler and model."""

import torch

from sdterm.core.plan import Choices, Plan
from sdterm.core.registry import PluginSet
from sdterm.hooks import ModelSampling


def run_sigmas(choices: Choices, plan: Plan, plugins: PluginSet, sampling: ModelSampling) -> torch.Tensor:
    """float32 [calls + 1] on the CPU. Raises PluginError if the plugin that makes them gave something else."""
    sampler, scheduler, steps = choices.sampler, choices.scheduler, plan.request.steps
    if sampler.grid == "own" and sampler.own_sigmas:
        with plugins.guard(sampler):
            return _checked(sampler.own_sigmas(steps, sampling))
    with plugins.guard(scheduler):
        sigmas = _checked(scheduler.sigmas(steps, sampling, **plan.scheduler_options))
        if len(sigmas) != steps + 1 or sigmas[-1] != 0 or not sigmas[:-1].all():
            raise ValueError(f"it gave no {steps} sigmas and a 0")
        return sigmas


def _checked(sigmas: object) -> torch.Tensor:
    if not isinstance(sigmas, torch.Tensor) or sigmas.ndim != 1 or not len(sigmas):
        raise TypeError("it gave no list of sigmas")
    if not torch.isfinite(sigmas).all() or (sigmas[1:] > sigmas[:-1]).any():  # DDIM's grid may stay for a step
        raise ValueError("its sigmas do not fall")
    return sigmas.to(device="cpu", dtype=torch.float32)

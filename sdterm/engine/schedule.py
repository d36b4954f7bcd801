"""The noise levels of a run: from scheduler, sampler and model."""

import torch

from sdterm.core.plan import Choices, Plan
from sdterm.core.registry import PluginSet
from sdterm.hooks import ModelSampling


def run_sigmas(choices: Choices, plan: Plan, plugins: PluginSet, sampling: ModelSampling) -> torch.Tensor:
    """float32 [steps + 1] on the CPU. Raises PluginError if the plugin that makes them gave something else."""
    sampler, scheduler, request = choices.sampler, choices.scheduler, plan.request
    if sampler.grid == "own" and sampler.own_sigmas:
        with plugins.guard(sampler):
            return _checked(sampler.own_sigmas(request.steps, sampling))
    discard = sampler.discard_penultimate or request.discard_penultimate
    with plugins.guard(scheduler):
        sigmas = _checked(scheduler.sigmas(request.steps + discard, sampling, **plan.scheduler_options))
        if len(sigmas) < 2 + discard or not sigmas[:-1].all():
            raise ValueError("it gave too few sigmas, or a 0 before the last")
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas


def _checked(sigmas: object) -> torch.Tensor:
    if not isinstance(sigmas, torch.Tensor) or sigmas.ndim != 1 or not len(sigmas):
        raise TypeError("it gave no list of sigmas")
    if not torch.isfinite(sigmas).all() or (sigmas[1:] > sigmas[:-1]).any():  # DDIM's grid may stay for a step
        raise ValueError("its sigmas do not fall")
    return sigmas.to(device="cpu", dtype=torch.float32)

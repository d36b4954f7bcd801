"""The noise levels of a run: from scheduler, sampler and model."""

import torch

from sdterm.core.plan import Choices, Plan
from sdterm.hooks import ModelSampling, PluginError


def run_sigmas(choices: Choices, plan: Plan, sampling: ModelSampling) -> torch.Tensor:
    """float32 [calls + 1] on the CPU. Raises PluginError if the scheduler gave something else."""
    sampler, steps = choices.sampler, plan.request.steps
    if sampler.grid == "own" and sampler.own_sigmas:
        return sampler.own_sigmas(steps, sampling)
    sigmas = choices.scheduler.sigmas(steps, sampling, **plan.scheduler_options)
    if sigmas.shape != (steps + 1,) or not torch.isfinite(sigmas).all() or sigmas[-1] != 0:
        raise PluginError(f"The scheduler {choices.scheduler.label} gave no falling list of {steps} sigmas and a 0.")
    return sigmas.to(device="cpu", dtype=torch.float32)

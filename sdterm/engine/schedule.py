"""The noise levels of a pass: from scheduler, sampler and model."""

import torch

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.planning.choices import PassParts
from sdterm.core.planning.plan import PassPlan
from sdterm.engine.recorder import kind_of
from sdterm.hooks import ModelSampling
from sdterm.request import GenerationRequest


def pass_sigmas(
    parts: PassParts, request: GenerationRequest, planned: PassPlan, plugins: PluginSet, sampling: ModelSampling
) -> torch.Tensor:
    """float32 [steps + 1] on the CPU. Raises PluginError if the plugin that makes them gave something else."""
    sampler, scheduler = parts.sampler, parts.scheduler
    if sampler.grid == "own" and sampler.own_sigmas:
        steps = planned.steps + request.discard_penultimate  # one more, none of which is left out, as in A1111
        with plugins.guard(sampler):
            return _checked(sampler.own_sigmas(steps, sampling), steps)
    discard = sampler.discard_penultimate or request.discard_penultimate
    with plugins.guard(scheduler):
        steps = planned.steps + discard
        sigmas = _checked(scheduler.sigmas(steps, sampling, **planned.scheduler_options), steps)
        if len(sigmas) < steps + 1 or not sigmas[:-1].all():
            raise ContractError(f"it gave {len(sigmas)} sigmas for {steps} steps, or a 0 before the last")
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas


def _checked(sigmas: object, steps: int) -> torch.Tensor:
    """A copy of its own. Steps may be more than were asked for: A1111's DDIM schedule goes in whole timesteps."""
    if not isinstance(sigmas, torch.Tensor) or sigmas.ndim != 1 or not len(sigmas):
        raise ContractError("it gave no list of sigmas")
    if sigmas.dtype != torch.float32 or sigmas.device.type != "cpu":
        raise ContractError(f"it gave sigmas in {kind_of(sigmas.dtype, sigmas.device)}, not float32 on cpu")
    if len(sigmas) > 2 * steps + 1:
        raise ContractError(f"it gave {len(sigmas)} sigmas for {steps} steps")
    if not torch.isfinite(sigmas).all() or (sigmas < 0).any():
        raise ContractError("its sigmas are not all numbers from 0 up")
    if (sigmas[1:] > sigmas[:-1]).any():  # DDIM's grid may stay for a step
        raise ContractError("its sigmas do not fall")
    return sigmas.clone()

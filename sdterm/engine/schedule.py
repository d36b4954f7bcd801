"""The noise levels of a pass: from scheduler, sampler and model."""

from dataclasses import dataclass

import torch

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.planning.choices import PassParts
from sdterm.core.planning.plan import PassPlan
from sdterm.engine.recorder import kind_of
from sdterm.engine.start import Cut, cut, tail
from sdterm.hooks import ModelSampling, Tail
from sdterm.messages import message
from sdterm.request import GenerationRequest


@dataclass(frozen=True)
class Way:
    """The noise levels of a pass."""

    sigmas: torch.Tensor
    """Those that it walks, float32 [steps + 1] on the CPU."""
    level: torch.Tensor
    """At which noise is mixed into what it begins with."""
    whole: torch.Tensor
    """Those that it would walk from pure noise."""


def pass_way(
    parts: PassParts, request: GenerationRequest, planned: PassPlan, plugins: PluginSet, sampling: ModelSampling
) -> Way:
    """Raises as `pass_sigmas`."""
    if planned.start == "noise":
        whole = pass_sigmas(parts, request, planned, plugins, sampling)
        return Way(whole, whole[0], whole)
    left = cut(planned.steps, planned.denoising_strength, exactly=planned.exactly)
    level, sigmas = pass_tail(parts, request, planned, plugins, sampling, left)
    steps = planned.model_copy(update={"steps": left.steps})
    return Way(sigmas, level, pass_sigmas(parts, request, steps, plugins, sampling) if left.steps else sigmas)


def pass_sigmas(
    parts: PassParts, request: GenerationRequest, planned: PassPlan, plugins: PluginSet, sampling: ModelSampling
) -> torch.Tensor:
    """The whole way of a pass, float32 [steps + 1] on the CPU. Raises PluginError if the plugin that makes it gave
    something else."""
    if parts.sampler.grid == "own" and parts.sampler.own_sigmas:
        steps = planned.steps + request.discard_penultimate  # one more, none of which is left out, as in A1111
        with plugins.guard(parts.sampler):
            return _checked(parts.sampler.own_sigmas(steps, sampling), steps)
    return _scheduled(parts, request, planned, plugins, sampling)


def pass_tail(
    parts: PassParts,
    request: GenerationRequest,
    planned: PassPlan,
    plugins: PluginSet,
    sampling: ModelSampling,
    cut: Cut,
) -> Tail:
    """What is left of a pass's way for one that begins with latents: see `start.cut`. Raises as `pass_sigmas`."""
    sampler, planned = parts.sampler, planned.model_copy(update={"steps": cut.steps})
    if not cut.steps:
        return Tail(torch.zeros(()), torch.zeros(1))
    if not (sampler.grid == "own" and sampler.own_tail):
        return tail(pass_sigmas(parts, request, planned, plugins, sampling), cut.kept)
    schedule = _scheduled(parts, request, planned, plugins, sampling)
    steps = cut.steps + request.discard_penultimate
    with plugins.guard(sampler):
        made = sampler.own_tail(steps, cut.kept, sampling, schedule.clone())
        if not isinstance(made, Tail):
            raise ContractError(message("it returned no Tail"))
        return Tail(_checked(made.level.reshape(-1), steps)[0], _checked(made.sigmas, steps))


def _scheduled(
    parts: PassParts, request: GenerationRequest, planned: PassPlan, plugins: PluginSet, sampling: ModelSampling
) -> torch.Tensor:
    """The way of the scheduler."""
    scheduler = parts.scheduler
    discard = parts.sampler.discard_penultimate or request.discard_penultimate
    with plugins.guard(scheduler):
        steps = planned.steps + discard
        sigmas = _checked(scheduler.sigmas(steps, sampling, **planned.scheduler_options), steps)
        if len(sigmas) < steps + 1 or not sigmas[:-1].all():
            raise ContractError(
                message(
                    "it returned {number} sigmas for {steps} steps, or a 0 before the last one",
                    number=len(sigmas),
                    steps=steps,
                )
            )
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas


def _checked(sigmas: object, steps: int) -> torch.Tensor:
    """A copy of its own. Steps may be more than were asked for: A1111's DDIM schedule goes in whole timesteps."""
    if not isinstance(sigmas, torch.Tensor) or sigmas.ndim != 1 or not len(sigmas):
        raise ContractError(message("it returned no list of sigmas"))
    if sigmas.dtype != torch.float32 or sigmas.device.type != "cpu":
        raise ContractError(
            message("it returned sigmas in {found}, not float32 on cpu", found=kind_of(sigmas.dtype, sigmas.device))
        )
    if len(sigmas) > 2 * steps + 1:
        raise ContractError(message("it returned {number} sigmas for {steps} steps", number=len(sigmas), steps=steps))
    if not torch.isfinite(sigmas).all() or (sigmas < 0).any():
        raise ContractError(message("its sigmas are not all numbers of 0 or more"))
    if (sigmas[1:] > sigmas[:-1]).any():  # DDIM's grid may stay for a step
        raise ContractError(message("its sigmas are not in descending order"))
    return sigmas.clone()

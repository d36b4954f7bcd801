"""A checkpoint in memory: built by its family, shaped by memory optimizers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from sdterm.core.additions import asked_for, options_of
from sdterm.core.library import CheckpointFile, ModelFileError
from sdterm.core.plan import Choices
from sdterm.core.registry import PluginSet
from sdterm.engine.conditioning import Conditioner
from sdterm.engine.model_sampling import DiscreteSampling
from sdterm.hooks import Components, MemoryOptimizer, OptionValue, PluginError
from sdterm.request import GenerationRequest


class OptimizerError(PluginError):
    """A memory optimizer failed at its work."""

    def __init__(self, message: str, optimizer: MemoryOptimizer) -> None:
        super().__init__(message)
        self.optimizer = optimizer


@dataclass(frozen=True)
class Optimizer:
    """A memory optimizer with the options that it is applied with."""

    of: MemoryOptimizer
    options: Mapping[str, OptionValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: what was read, how, and the parts that run."""

    sha256: str
    dtype: torch.dtype
    optimizers: tuple[Optimizer, ...]
    components: Components
    sampling: DiscreteSampling
    condition: Conditioner


def choose_optimizers(
    plugins: PluginSet, request: GenerationRequest, options: Mapping[str, OptionValue], device: torch.device
) -> tuple[tuple[Optimizer, ...], tuple[str, ...]]:
    """The optimizers to use, one per group, and a sentence for each asked for that cannot be used here. Raises
    OptimizerError if the picture would be another without it."""
    chosen: dict[str, MemoryOptimizer] = {}
    refused: list[str] = []
    for optimizer in asked_for(MemoryOptimizer, request, plugins):
        with plugins.guard(optimizer):
            usable, reason = optimizer.supports(device)
        if usable:
            chosen[optimizer.group] = optimizer
        elif optimizer.effect == "visible":
            raise OptimizerError(f"{optimizer.label} cannot be used here: {reason}.", optimizer)
        else:
            refused.append(f"{optimizer.label} cannot be used here: {reason}. Going on without it.")
    for optimizer in plugins.all(MemoryOptimizer):
        if not optimizer.default or optimizer.group in chosen:
            continue
        try:
            with plugins.guard(optimizer):
                usable, _ = optimizer.supports(device)
        except PluginError as error:
            refused.append(f"{error} Going on without it.")
        else:
            if usable:
                chosen[optimizer.group] = optimizer
    return tuple(Optimizer(each, options_of(each, options)) for each in chosen.values()), tuple(refused)


def load_model(
    choices: Choices,
    plugins: PluginSet,
    sha256: str,
    device: torch.device,
    dtype: torch.dtype,
    optimizers: Sequence[Optimizer],
    tell: Callable[[float], None] = lambda fraction: None,
) -> Model:
    """Read the weights and apply the optimizers. tell: called with the fraction of the weights read so far. Raises
    ModelFileError; OptimizerError naming one that fails; PluginError if the family does."""
    family = choices.family
    with plugins.guard(family, ModelFileError):
        components = family.build(_telling(choices.checkpoint, tell), device, dtype)
        sampling, condition = DiscreteSampling(components.alphas_cumprod), Conditioner(components, family.tokens)
    return with_optimizers(Model(sha256, dtype, (), components, sampling, condition), plugins, optimizers)


def _telling(checkpoint: CheckpointFile, tell: Callable[[float], None]) -> CheckpointFile:
    """The same checkpoint, which tells how much of it was read."""
    whole, read = max(sum(map(math.prod, checkpoint.shapes().values())), 1), 0

    def on_read(numbers: int) -> None:
        nonlocal read
        read += numbers
        tell(min(read / whole, 1.0))

    return replace(checkpoint, on_read=on_read)


def can_switch(model: Model, optimizers: Sequence[Optimizer]) -> bool:
    """Whether the model gets to these optimizers without being built again: those to leave can be undone."""
    return all(old.of.undo or old in optimizers for old in model.optimizers)


def with_optimizers(model: Model, plugins: PluginSet, optimizers: Sequence[Optimizer]) -> Model:
    """The model with exactly these optimizers on. Raises OptimizerError naming one that fails: half applied, it
    leaves a model that cannot be trusted and is to be built again."""
    for old in model.optimizers:
        if old not in optimizers and old.of.undo:
            _change(plugins, old.of, old.of.undo, model.components)
    for new in optimizers:
        if new not in model.optimizers:
            _change(plugins, new.of, partial(new.of.apply, **new.options), model.components)
    return Model(model.sha256, model.dtype, tuple(optimizers), model.components, model.sampling, model.condition)


def _change(
    plugins: PluginSet, optimizer: MemoryOptimizer, change: Callable[[Components], None], components: Components
) -> None:
    try:
        with plugins.guard(optimizer):
            change(components)
    except PluginError as error:
        raise OptimizerError(str(error), optimizer) from error

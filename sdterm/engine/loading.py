"""A checkpoint in memory: built by its family, shaped by memory optimizers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdterm.core.plan import Choices
from sdterm.core.registry import PluginSet
from sdterm.engine.conditioning import Conditioner
from sdterm.engine.model_sampling import DiscreteSampling
from sdterm.hooks import Components, MemoryOptimizer, PluginError


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: what was read, how, and the parts that run."""

    sha256: str
    dtype: torch.dtype
    optimizers: tuple[MemoryOptimizer, ...]
    components: Components
    sampling: DiscreteSampling
    condition: Conditioner


def choose_optimizers(
    plugins: PluginSet, asked: Sequence[str], device: torch.device
) -> tuple[tuple[MemoryOptimizer, ...], tuple[str, ...]]:
    """The optimizers to use, one per group, and a sentence for each asked for that cannot be used here."""
    chosen: dict[str, MemoryOptimizer] = {}
    refused: list[str] = []
    for optimizer in map(plugins.optimizer, asked):
        usable, reason = optimizer.supports(device)
        if usable:
            chosen[optimizer.group] = optimizer
        else:
            refused.append(f"{optimizer.label} cannot be used here: {reason}. Going on without it.")
    for optimizer in plugins.all(MemoryOptimizer):
        if optimizer.default and optimizer.group not in chosen and optimizer.supports(device)[0]:
            chosen[optimizer.group] = optimizer
    return tuple(chosen.values()), tuple(refused)


def load_model(
    choices: Choices, sha256: str, device: torch.device, dtype: torch.dtype, optimizers: Sequence[MemoryOptimizer]
) -> Model:
    """Read the weights and apply the optimizers. Raises what the family raises; PluginError if an optimizer fails."""
    components = choices.family.build(choices.checkpoint, device, dtype)
    model = Model(
        sha256,
        dtype,
        (),
        components,
        DiscreteSampling(components.alphas_cumprod),
        Conditioner(components, choices.family.tokens),
    )
    return with_optimizers(model, optimizers)


def can_switch(model: Model, optimizers: Sequence[MemoryOptimizer]) -> bool:
    """Whether the model gets to these optimizers without being built again: those to leave can be undone."""
    return all(old.undo or old in optimizers for old in model.optimizers)


def with_optimizers(model: Model, optimizers: Sequence[MemoryOptimizer]) -> Model:
    """The model with exactly these optimizers on. Raises PluginError naming one that fails; build it again then."""
    for old in model.optimizers:
        if old not in optimizers and old.undo:
            _guarded(old, old.undo, model.components)
    for new in optimizers:
        if new not in model.optimizers:
            _guarded(new, new.apply, model.components)
    return Model(model.sha256, model.dtype, tuple(optimizers), model.components, model.sampling, model.condition)


def _guarded(optimizer: MemoryOptimizer, change: object, components: Components) -> None:
    try:
        change(components)  # type: ignore[operator]
    except Exception as error:  # a stranger's code; half applied, the model cannot be trusted
        raise PluginError(f"The memory optimizer {optimizer.label} failed: {type(error).__name__}: {error}.") from error

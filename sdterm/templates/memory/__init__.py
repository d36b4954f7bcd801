"""A memory optimizer: weights in the layout that some processors like better, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, hookimpl

if TYPE_CHECKING:
    import torch


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    """Whether it can be used there, and the reason if not."""
    return True, ""


def apply(components: Components) -> None:
    """All of it or nothing: if this raises, the model is built again."""
    import torch

    components.modules["unet"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def undo(components: Components) -> None:
    """Puts everything back as `apply` found it; without an undo the model is built again."""
    import torch

    components.modules["unet"].to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            id="my_extension",
            label="My extension",
            group="my_extension",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="exact",
        )
    ]

"""Weights of convolutions channels last, the layout that tensor cores read fastest: A1111's --opt-channelslast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_CONVOLUTIONAL = ("unet", "vae")


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return device.type in ("cpu", "cuda"), message("{device} has no kernels for it", device=device.type)


def apply(components: Components) -> None:
    import torch

    _to(components, torch.channels_last)


def undo(components: Components) -> None:
    import torch

    _to(components, torch.contiguous_format)


def _to(components: Components, layout: torch.memory_format) -> None:
    for name in _CONVOLUTIONAL:
        module: Any = components.modules.get(name)
        if module is not None:
            module.to(memory_format=layout)


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [MemoryOptimizer("channels-last", "Channels last", "layout", supports, apply, undo, effect="exact")]

"""Offloading: weights lie in the computer's memory and come to the device when they are used.

Text encoders alone, which nobody needs once a prompt is encoded. A part of the model at a time (A1111's --medvram):
text encoders, UNet and VAE take turns, so that only the largest one has to fit. Or block by block (--lowvram): large
parts are never there as a whole, and the next blocks are copied while the GPU computes with the ones before. diffusers'
group offloading does the same, but its CPU waits for every copy, and it needs accelerate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_TURNS = "offloading"
_SHARE = message("on this device, weights and images share the computer's memory, so offloading saves nothing")


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return device.type in ("cuda", "xpu"), _SHARE


def supports_sdxl(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    """A1111's --medvram-sdxl says nothing of other models."""
    return supports(device, model) if model.family.startswith("sdxl") else (False, "")


def offload_texts(components: Components) -> None:
    from sdterm.plugins.memory.offload.parts import Staying, TakingTurns, Whole

    device, texts = components.device, set()
    for name, module in components.modules.items():
        if reads_text(name, module):
            texts.add(module)
        else:
            module.to(device)
    parts = components.modules.values()
    _keep(components, TakingTurns(parts, lambda part: Whole(part, device) if part in texts else Staying()))


def reads_text(name: str, module: torch.nn.Module) -> bool:
    """Whether it is a text encoder; in pipelines they have many names, and all are of transformers."""
    return name.startswith("text_encoder") or type(module).__module__.startswith("transformers.")


def texts_home(components: Components) -> None:
    undo(components)
    for module in components.modules.values():
        module.to("cpu")


def offload_parts(components: Components) -> None:
    from sdterm.plugins.memory.offload.parts import TakingTurns, Whole

    device = components.device
    _keep(components, TakingTurns(components.modules.values(), lambda module: Whole(module, device)))


def offload_blocks(components: Components) -> None:
    from sdterm.plugins.memory.offload.block import bytes_of
    from sdterm.plugins.memory.offload.blocks import AHEAD, Streamed
    from sdterm.plugins.memory.offload.parts import Part, TakingTurns, Whole

    device = components.device

    def part_of(module: torch.nn.Module) -> Part:
        return (Streamed if bytes_of(module) > 2 * AHEAD else Whole)(module, device)

    _keep(components, TakingTurns(components.modules.values(), part_of))


def undo(components: Components) -> None:
    for module in components.modules.values():
        if turns := vars(module).pop(_TURNS, None):
            turns.end()


def _keep(components: Components, turns: Any) -> None:
    """With the model, for as long as that lives."""
    vars(next(iter(components.modules.values())))[_TURNS] = turns


def _offloading(id: str, label: str, **more: Any) -> MemoryOptimizer:
    given: dict[str, Any] = {"undo": undo, "effect": "exact", "offloads": True, **more}
    return MemoryOptimizer(id=id, label=label, group="offload", **given)


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        _offloading(
            "text-offload",
            "Text encoder offload",
            supports=supports,
            apply=offload_texts,
            undo=texts_home,
            rung="text-offload",
        ),
        _offloading(
            "component-offload", "Component offload", supports=supports, apply=offload_parts, rung="component-offload"
        ),
        _offloading(
            "component-offload-sdxl", "Component offload for SDXL", supports=supports_sdxl, apply=offload_parts
        ),
        _offloading("block-offload", "Block offload", supports=supports, apply=offload_blocks, rung="block-offload"),
    ]

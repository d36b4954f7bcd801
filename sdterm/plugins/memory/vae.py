"""Decode large images tile by tile: the decoder's memory then no longer grows with the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, PluginError, hookimpl

if TYPE_CHECKING:
    import torch


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def apply(components: Components) -> None:
    vae: Any = components.modules.get("vae")
    if not hasattr(vae, "enable_tiling"):
        raise PluginError("VAE tiling is for a VAE of diffusers', which this model does not have.")
    vae.enable_tiling()


def undo(components: Components) -> None:
    components.modules["vae"].disable_tiling()  # type: ignore[operator]


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            id="vae-tiling",
            label="VAE tiling",
            group="vae",
            supports=supports,
            apply=apply,
            undo=undo,
            effect="visible",
            decodes_only=True,
            rung="vae-tiling",
        )
    ]

"""The VAE: large images tile by tile, so that its memory no longer grows with them; and in float32 alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, PluginError, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch


def always(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def use_tiles(components: Components) -> None:
    vae: Any = components.modules.get("vae")
    if not hasattr(vae, "enable_tiling"):
        raise PluginError(message("VAE tiling needs a VAE of diffusers, which this model does not have."))
    vae.enable_tiling()


def use_whole(components: Components) -> None:
    components.modules["vae"].disable_tiling()  # type: ignore[operator]


def use_float32(components: Components) -> None:
    import torch

    if (vae := components.modules.get("vae")) is None:
        raise PluginError(message("This model has no VAE that can run in float32."))
    vae.to(torch.float32)


def use_models_precision(components: Components) -> None:
    components.modules["vae"].to(components.dtype)


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            id="vae-tiling",
            label="VAE tiling",
            group="vae",
            supports=always,
            apply=use_tiles,
            undo=use_whole,
            effect="visible",
            decodes_only=True,
            rung="vae-tiling",
        ),
        MemoryOptimizer(
            id="vae-float32",
            label="VAE in float32",
            group="vae precision",
            supports=always,
            apply=use_float32,
            undo=use_models_precision,
            effect="close",
        ),
    ]

"""How the network computes attention: torch's fused kernel, in slices, or by xFormers."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, PluginError, hookimpl

if TYPE_CHECKING:
    import torch


def always(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    return True, ""


def use_sdpa(components: Components) -> None:
    """torch's scaled_dot_product_attention: fast and lean wherever a fused kernel exists. It is on by default, so a
    model without a UNet of diffusers' stays as it is."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    if unet := _unet(components):
        unet.set_attn_processor(AttnProcessor2_0())


def use_slices(components: Components) -> None:
    """Half the heads at a time: the attention matrix needs half the memory. A1111's --opt-split-attention."""
    _needed(components).set_attention_slice("auto")


def use_xformers(components: Components) -> None:
    _needed(components).enable_xformers_memory_efficient_attention()


def _unet(components: Components) -> Any:
    unet = components.modules.get("unet")
    return unet if hasattr(unet, "set_attn_processor") else None


def _needed(components: Components) -> Any:
    if unet := _unet(components):
        return unet
    raise PluginError("This attention is for a UNet of diffusers', which this model does not have.")


def xformers_usable(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    """Really imports xFormers and runs one attention, since it imports happily where no kernel of it works."""
    if importlib.util.find_spec("xformers") is None:
        return False, "it is not installed (pip install 'sdterm[xformers]')"
    import torch

    logging.getLogger("xformers").setLevel(logging.ERROR)  # it prints the reason too, at length
    try:
        from xformers.ops import memory_efficient_attention

        q = torch.zeros(1, 16, 1, 16, device=device, dtype=torch.float32 if device.type == "cpu" else torch.float16)
        memory_efficient_attention(q, q, q)
    except Exception as error:  # whatever its binary parts raise is the reason the user needs to see
        first, *rest = str(error).strip().splitlines()
        detail = next((f" ({line.strip()})" for line in rest if "supported" in line and "=" in line), "")
        return False, f"{type(error).__name__}: {first.split(' with inputs')[0]}{detail}"
    return True, ""


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    return [
        MemoryOptimizer(
            id="sdpa",
            label="SDPA",
            group="attention",
            supports=always,
            apply=use_sdpa,
            undo=use_sdpa,
            effect="exact",
            default=True,
        ),
        MemoryOptimizer(
            id="sliced",
            label="Sliced attention",
            group="attention",
            supports=always,
            apply=use_slices,
            undo=use_sdpa,
            effect="exact",
            rung="lean-attention",
        ),
        MemoryOptimizer(
            id="xformers",
            label="xFormers",
            group="attention",
            supports=xformers_usable,
            apply=use_xformers,
            undo=use_sdpa,
            effect="close",
        ),
    ]

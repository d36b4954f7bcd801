"""Weights stored in 8 bits and computed with in the model's precision: A1111's setting fp8_storage. Those of linear
layers and convolutions in text encoders and UNet; half of half precision's memory, and coarser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Components, MemoryOptimizer, ModelFacts, Option, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_WHICH = ("Disable", "Enable for SDXL", "Enable")


def supports(device: torch.device, model: ModelFacts) -> tuple[bool, str]:
    import torch

    try:
        torch.ones(2, device=device, dtype=model.dtype).to(torch.float8_e4m3fn).to(model.dtype)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return False, message(
            "{device} does not support 8-bit numbers: {problem}", device=device.type, problem=str(error).splitlines()[0]
        )
    return True, ""


def apply(components: Components, *, storage: str) -> None:
    if storage == "Disable" or (storage == "Enable for SDXL" and not _is_sdxl(components)):
        return
    if hasattr(components, "pipe"):
        _store_denoisers(components)
        return
    for name, module in components.modules.items():
        if name != "vae":
            _store(module, components.dtype)


def _store_denoisers(components: Components) -> None:
    """Of a pipeline, by diffusers itself, whose modules then still say what they compute in: pipelines ask them."""
    import torch

    part: Any
    for part in components.modules.values():
        if hasattr(part, "enable_layerwise_casting") and not hasattr(part, "decode"):
            part.enable_layerwise_casting(
                torch.float8_e4m3fn, components.dtype, skip_modules_classes=(torch.nn.Embedding,)
            )


def _is_sdxl(components: Components) -> bool:
    """SDXL's UNets, the refiner's too, are told of more than texts."""
    config = getattr(components.modules.get("unet"), "config", None)
    return getattr(config, "class_embed_type", None) == "projection"


def _store(module: torch.nn.Module, dtype: torch.dtype) -> None:
    import torch

    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            for weight in layer.parameters(recurse=False):
                weight.data = weight.data.to(torch.float8_e4m3fn)
            computing = _Computing(dtype)
            layer.register_forward_pre_hook(computing.begin)
            layer.register_forward_hook(computing.end, always_call=True)


class _Computing:
    """A layer's weights while it computes."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._stored: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, layer: torch.nn.Module, *_: Any) -> None:
        self._stored = [(weight, weight.data) for weight in layer.parameters(recurse=False)]
        for weight, data in self._stored:
            weight.data = data.to(self._dtype)

    def end(self, *_: Any) -> None:
        for weight, data in self._stored:
            weight.data = data
        self._stored = []


@hookimpl
def sdterm_memory_optimizers() -> list[MemoryOptimizer]:
    storage = Option(
        "storage",
        "Enable",
        message("Which models to store in fp8."),
        infotext="FP8 weight",
        a1111="fp8_storage",
        choices=_WHICH,
    )
    return [
        MemoryOptimizer("fp8", "FP8 weights", "storage", supports, apply, effect="visible", options=(storage,)),
    ]

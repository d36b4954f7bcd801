"""What networks can change in an SD model: its layers, by diffusers' names and the checkpoint's."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch

from sdterm.hooks import Layer, Origin
from sdterm.plugins.sd.keys import Names

_PARTS: Mapping[str, Literal["text", "unet"]] = {"unet": "unet", "text_encoder": "text", "text_encoder_2": "text"}
_OWN = ("weight", "bias")
_REFINER = "conditioner.embedders.0.model."  # A1111 finds no network's layers in its text encoder


def layers_of(modules: Mapping[str, torch.nn.Module], names: Mapping[str, Names]) -> dict[str, Layer]:
    """Of each layer that has a weight. names: part of the model → key in the file → names in the module, several where
    the file has several tensors in one."""
    found: dict[str, Layer] = {}
    for part, kind in _PARTS.items():
        own = dict(modules[part].named_modules()) if part in modules else {}
        origins: dict[str, dict[str, Origin]] = {}
        originals: dict[str, str] = {}
        for key, owns in names.get(part, {}).items():
            for index, name in enumerate(owns):
                layer, _, tensor = name.rpartition(".")
                if tensor in _OWN and layer in own and not key.startswith(_REFINER):
                    origins.setdefault(layer, {})[tensor] = Origin(key, _shaped(index, len(owns)))
                    originals[layer] = key.removesuffix(f".{tensor}")
        for layer, tensors in origins.items():
            if "weight" in tensors:
                found[f"{part}.{layer}"] = Layer(own[layer], kind, tensors, originals[layer])
    return found


def _shaped(index: int, count: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    return partial(_part, index=index, count=count) if count > 1 else None


def _part(tensor: torch.Tensor, *, index: int, count: int) -> torch.Tensor:
    return tensor.chunk(count)[index]

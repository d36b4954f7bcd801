"""What networks can change in an SD model: its layers, by diffusers' names and the checkpoint's."""

from collections.abc import Mapping
from typing import Literal

import torch

from sdterm.hooks import Layer, Origin

_PARTS: Mapping[str, Literal["text", "unet"]] = {"unet": "unet", "text_encoder": "text", "text_encoder_2": "text"}
_OWN = ("weight", "bias")


def layers_of(modules: Mapping[str, torch.nn.Module], sources: Mapping[str, Mapping[str, str]]) -> dict[str, Layer]:
    """Of each layer that has a weight. sources: part of the model → key in the file → name in the module."""
    found: dict[str, Layer] = {}
    for part, kind in _PARTS.items():
        if part not in modules:
            continue
        own = dict(modules[part].named_modules())
        origins: dict[str, dict[str, Origin]] = {}
        names: dict[str, str] = {}
        for key, name in sources[part].items():
            layer, _, tensor = name.rpartition(".")
            if tensor in _OWN and layer in own:
                origins.setdefault(layer, {})[tensor] = Origin(key, None)
                names[layer] = key.removesuffix(f".{tensor}")
        for name, tensors in origins.items():
            if "weight" in tensors:
                found[f"{part}.{name}"] = Layer(own[name], kind, tensors, names[name])
    return found

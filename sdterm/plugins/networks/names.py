"""Whose tensor a key of a LoRA file is: kohya's names with underscores, diffusers' and PEFT's with dots."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sdterm.hooks import Layer

BUNDLED = "bundle_emb"


class Tensor(NamedTuple):
    """A key, taken apart."""

    layer: str
    """As the file calls it."""
    part: str
    """By kohya's names: `lora_down.weight`, `alpha`, `hada_w1_a` …"""


_PREFIXES = {
    "lora_unet_": ("unet_", "model_diffusion_model_"),
    "oft_unet_": ("unet_", "model_diffusion_model_"),
    "unet_": ("unet_", "model_diffusion_model_"),
    "diffusion_model_": ("model_diffusion_model_",),
    "model_diffusion_model_": ("model_diffusion_model_",),
    "lora_te1_": ("text_encoder_",),
    "lora_te2_": ("text_encoder_2_",),
    "lora_te_": ("text_encoder_",),
    "text_encoder_2_": ("text_encoder_2_",),
    "text_encoder_": ("text_encoder_",),
}
"""What stands before a layer's name → what stands before it in `Adaptable.layers`, with underscores."""
_DOTTED = re.compile(
    r"(?P<layer>.+?)\.?(?:_lora|(?<=\.)lora|(?<=\.)lora_linear_layer)?\.?"
    r"(?P<part>(?<=\.)(?:lora_[AB]|lora_down|lora_up|lora_mid|up|down)(?:\.default)?\.weight"
    r"|lora_magnitude_vector(?:\.default)?(?:\.weight)?|alpha|scale|dora_scale|diff|diff_b|[wb]_norm|(?:hada|lokr|oft)_\w+|rescale"
    r"|[ab][12]\.weight)"
)
_PARTS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "down.weight": "lora_down.weight",
    "up.weight": "lora_up.weight",
    "lora_magnitude_vector.weight": "lora_magnitude_vector",
}


def taken_apart(key: str) -> Tensor:
    """Kohya's keys have one dot, behind the layer; the others' layers have dots, too."""
    layer, _, part = key.partition(".")
    if layer == BUNDLED or layer.startswith(("lora_", "oft_")):
        return Tensor(layer, part)
    found = _DOTTED.fullmatch(key.removeprefix("base_model.model."))
    if not found:
        return Tensor(layer, part)
    part = found["part"].replace(".default", "")
    layer = found["layer"].replace(".processor", "")
    if layer.endswith("to_out"):  # diffusers' first LoRAs had no number for it
        layer += ".0"
    return Tensor(layer, _PARTS.get(part, part))


class LayerNames:
    """The layers of a model, found by the names that networks have for them."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        """layers: as in `Adaptable.layers`."""
        named = [(called, name) for name, layer in layers.items() for called in (layer.original, name) if called]
        self._names: Mapping[str, str] = {_flat(called): name for called, name in named}
        self._two_encoders = any(name.startswith("text_encoder_2_") for name in self._names)

    def find(self, layer: str) -> str | None:
        """The model's name of a layer that a file calls so; None if it has no such layer. Of two text encoders none is
        meant by `lora_te_`, as in A1111."""
        flat = layer.replace(".", "_")
        prefix = next((prefix for prefix in _PREFIXES if flat.startswith(prefix)), None)
        if prefix is None or (self._two_encoders and prefix == "lora_te_"):
            return None
        rest = flat.removeprefix(prefix)
        named = (_flat(own + rest) for own in _PREFIXES[prefix])
        return next((self._names[name] for name in named if name in self._names), None)


def _flat(name: str) -> str:
    flat = name.replace(".", "_")
    encoder, found, rest = flat.partition("_text_model_")
    return f"{encoder}_{rest}" if found and encoder in ("text_encoder", "text_encoder_2") else flat

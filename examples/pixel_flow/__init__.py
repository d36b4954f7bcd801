"""Pixel Flow: rectified flow (Liu et al. 2022, "Flow straight and fast", arXiv 2209.03003) on the pixels themselves.

The network is diffusers' UNet2DConditionModel; a prompt is the words of it that the model knows. A checkpoint has

    unet.…           the UNet's tensors, in diffusers' names
    words.weight     [1 + number of words, width]: a vector for each, the first one for no word at all

and in its header's metadata `pixel_flow.unet`, the UNet's configuration as JSON, and `pixel_flow.words`, the words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sdterm.hooks import ModelFamily, ModelMatch, PluginError, WeightsReader, hookimpl

if TYPE_CHECKING:
    import torch

    from .components import PixelFlow

UNET, WORDS = "unet.", "words.weight"
CONFIG, VOCABULARY = "pixel_flow.unet", "pixel_flow.words"


def detect(reader: WeightsReader) -> ModelMatch | None:
    """By the header alone. A file of this family that lacks something is refused here, before anything is allocated."""
    if CONFIG not in reader.metadata:
        return None
    shapes, words = reader.shapes(), vocabulary(reader)
    if shapes.get(WORDS, ()) != (1 + len(words), config(reader).get("cross_attention_dim")):
        return ModelMatch(refusal=f"{reader.path.name} has no vector for each of its words.")
    return ModelMatch(native_size=64, downscale=1, size_step=8, process="flow")


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> PixelFlow:
    """The UNet without memory for random weights, then filled from the file."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from .components import PixelFlow

    name = reader.path.name
    try:
        with torch.device("meta"):
            unet: Any = UNet2DConditionModel(**config(reader))
    except Exception as error:  # diffusers has many ways to refuse a configuration
        raise PluginError(f"The configuration in {name} makes no UNet: {error}") from error
    wanted = {UNET + key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    there = {key: shape for key, shape in reader.shapes().items() if key.startswith(UNET)}
    if wrong := sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key)):
        raise PluginError(f"{name} has not the tensors that its configuration asks for: {wrong[0]} is one of them.")
    read = reader.read([*wanted, WORDS], device, dtype)
    unet.load_state_dict({key.removeprefix(UNET): read[key] for key in wanted}, assign=True)
    return PixelFlow(unet.eval().requires_grad_(False), vocabulary(reader), read[WORDS])


def config(reader: WeightsReader) -> dict[str, Any]:
    """Of the UNet. Raises PluginError if it is none."""
    return dict(_said(reader, CONFIG, dict))


def vocabulary(reader: WeightsReader) -> list[str]:
    """The words, in the order of their vectors. Raises PluginError."""
    return list(map(str, _said(reader, VOCABULARY, list)))


def _said(reader: WeightsReader, key: str, kind: type[Any]) -> Any:
    try:
        said = json.loads(reader.metadata[key])
    except (KeyError, ValueError):
        said = None
    if not isinstance(said, kind):
        raise PluginError(f"{reader.path.name} does not say its {key} in JSON.")
    return said


@hookimpl
def sdterm_model_families() -> list[ModelFamily]:
    return [ModelFamily(id="pixel_flow", label="Pixel Flow", detect=detect, build=build)]

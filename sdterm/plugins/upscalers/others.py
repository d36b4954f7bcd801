"""All upscalers that spandrel knows (DAT, HAT, SwinIR, SPAN, compact networks …), where it is installed: the extra
`upscalers`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sdterm.hooks import LoadedUpscaler, PluginError, Upscaler, WeightsReader, hookimpl
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_BOXES = ("params_ema.", "params-ema.", "params.", "model_state_dict.", "state_dict.", "")
"""What files put around a network; of several the first counts: weights averaged over the training."""


def boxed(keys: Iterable[str]) -> dict[str, str]:
    """A network's own name of each of its tensors → the file's."""
    there = list(keys)
    box = next(box for box in _BOXES if not box or any(key.startswith(box) for key in there))
    return {key.removeprefix(box): key for key in there if key.startswith(box)}


def matches(reader: WeightsReader) -> bool:
    import torch
    from spandrel import MAIN_REGISTRY, canonicalize_state_dict

    shapes = reader.shapes()
    hollow = {name: torch.empty(shapes[key], device="meta") for name, key in boxed(shapes).items()}
    state = canonicalize_state_dict(hollow)
    return any(support.architecture.detect(state) for support in MAIN_REGISTRY)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> LoadedUpscaler:
    """Raises PluginError for what makes no picture larger."""
    from spandrel import MAIN_REGISTRY, ImageModelDescriptor

    keys = boxed(reader.shapes())
    read = reader.read(list(keys.values()), device, dtype)
    model = MAIN_REGISTRY.load({name: read[key] for name, key in keys.items()})
    if not isinstance(model, ImageModelDescriptor) or (model.input_channels, model.output_channels) != (3, 3):
        raise PluginError(
            message(
                "{file} is a network ({name}) that does not upscale images.",
                file=reader.path.name,
                name=model.architecture.name,
            )
        )
    model.to(device, dtype).eval()
    return LoadedUpscaler(model.scale, lambda pixels: model(pixels.flip(1)).flip(1))  # blue first, as in A1111


@hookimpl
def sdterm_upscalers() -> list[Upscaler]:
    return [Upscaler("spandrel", "spandrel", matches=matches, build=build)] if find_spec("spandrel") else []

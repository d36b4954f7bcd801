"""A loaded pipeline, as the rest of the engine uses a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sdterm.core.extensions.registry import ContractError
from sdterm.hooks import CheckpointReader, Pipeline

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]
_GREY: LatentRGB = (((0.0, 0.0, 0.0),), (0.5, 0.5, 0.5))


@dataclass
class LoadedPipeline:
    """What memory optimizers and previews use of it: that part of `sdterm.hooks.Components` which is no loop."""

    pipe: Any
    """The pipeline object."""
    modules: dict[str, torch.nn.Module]
    device: torch.device
    dtype: torch.dtype
    downscale: int
    latent_channels: int = 1
    latent_rgb: LatentRGB = _GREY


def load_pipeline(
    pipeline: Pipeline,
    reader: CheckpointReader,
    home: torch.device,
    device: torch.device,
    dtype: torch.dtype,
    cell: int,
) -> LoadedPipeline:
    """Have a pipeline loaded, its weights at home. It computes on the device, wherever they lie. cell: pixels per
    latent cell. Raises what the plugin raises."""
    pipe = pipeline.load(reader, home, dtype)
    components = getattr(pipe, "components", None)
    if not isinstance(components, dict) or not callable(pipe):
        raise ContractError("it loaded nothing that has components and can be called")
    modules = {name: each for name, each in components.items() if isinstance(each, torch.nn.Module)}
    for module in modules.values():
        module.eval().requires_grad_(False)
        if any(weight.device != home for weight in module.parameters()):
            module.to(home)
    _compute_on(pipe, device)
    return LoadedPipeline(pipe, modules, device, dtype, cell)


def _compute_on(pipe: Any, device: torch.device) -> None:
    """diffusers infers the device from where weights lie, which with an offloaded model says nothing. Its class is
    given the answer, for this object alone."""
    answer = property(lambda _: device)
    whose = type(pipe)
    pipe.__class__ = type(whose.__name__, (whose,), {"_execution_device": answer, "device": answer})

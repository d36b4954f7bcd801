"""A loaded pipeline, as the rest of the engine uses a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sdterm.core.extensions.registry import ContractError
from sdterm.engine.tapped.prompts import Prompts
from sdterm.hooks import CheckpointReader, Pipeline, Task
from sdterm.messages import message
from sdterm.modelling.pipelines.tasks import for_task

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]
GREY: LatentRGB = (((0.2, 0.2, 0.2),), (0.5, 0.5, 0.5))
"""Of latents whose channels are one."""


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
    latent_rgb: LatentRGB = GREY
    prompts: Prompts = field(default_factory=Prompts)

    def for_task(self, task: Task) -> Any:
        """The pipeline object that draws from that. Raises PluginError."""
        found = for_task(self.pipe, task)
        if found is not self.pipe:
            self.settle(found)
        return found

    def settle(self, pipe: Any) -> None:
        """Have a pipeline object compute on the device, remember prompts and keep quiet."""
        _compute_on(pipe, self.device)
        if encode := getattr(pipe, "encode_prompt", None):
            pipe.encode_prompt = self.prompts.remembering(encode, type(pipe).__name__)
        getattr(pipe, "set_progress_bar_config", lambda **_: None)(disable=True)


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
        raise ContractError(message("it loaded nothing that has components and can be called"))
    modules = {name: each for name, each in components.items() if isinstance(each, torch.nn.Module)}
    for module in modules.values():
        module.eval().requires_grad_(False)
        if any(weight.device != home for weight in module.parameters()):
            module.to(home)
    loaded = LoadedPipeline(pipe, modules, device, dtype, cell)
    loaded.settle(pipe)
    return loaded


def _compute_on(pipe: Any, device: torch.device) -> None:
    """diffusers infers the device from where weights lie, which with an offloaded model says nothing. Its class is
    given the answer, for this object alone."""
    answer = property(lambda _: device)
    whose = type(pipe)
    pipe.__class__ = type(whose.__name__, (whose,), {"_execution_device": answer, "device": answer})

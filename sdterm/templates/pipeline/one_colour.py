# mypy: ignore-errors
# diffusers has no types.
"""The pipeline itself, in diffusers' shape. It is imported only when a checkpoint is loaded."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

CELL = 8  # pixels


class Painter(ModelMixin, ConfigMixin):
    """The denoiser. Its calls are what sdterm records."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.colour = torch.nn.Parameter(torch.zeros(3))  # RGB from -1 to 1

    def forward(self, hidden_states: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Noisy latents [1, 3, h, w] → their velocity: from the colour to the noise."""
        return (hidden_states - self.colour[:, None, None]) / sigma


class OneColour(DiffusionPipeline):
    """Noise becomes the colour."""

    def __init__(self, painter: Painter, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(painter=painter, scheduler=scheduler)
        self.images = VaeImageProcessor()

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        height: int = 64,
        width: int = 64,
        num_inference_steps: int = 4,
        brightness: float = 0.0,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
    ) -> Any:
        shape = (1, 3, height // CELL, width // CELL)
        latents = randn_tensor(shape, generator=generator, device=self.device, dtype=self.painter.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        for t in self.scheduler.timesteps:
            velocity = self.painter(latents, t / 1000)
            latents = self.scheduler.step(velocity, t, latents, return_dict=False)[0]
        pixels = latents.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3) + brightness
        return ImagePipelineOutput(images=self.images.postprocess(pixels.clamp(-1, 1), output_type=output_type))


def build(colour: torch.Tensor) -> OneColour:
    painter = Painter().to(colour)
    painter.colour.data = colour
    return OneColour(painter.eval(), FlowMatchEulerDiscreteScheduler())

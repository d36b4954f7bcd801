# mypy: ignore-errors
# diffusers has no types.
"""The pipeline itself: with a text encoder of its own without a tokenizer, an option that nobody knows (`warmth`), no
callbacks and no LoRA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor

if TYPE_CHECKING:
    from pathlib import Path


class Letters(ModelMixin, ConfigMixin):
    """A text is the mean of what its letters stand for, each turned by where it stands."""

    @register_to_config
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, width)
        self.turn = torch.nn.Linear(width, width)

    def forward(self, texts: list[str]) -> torch.Tensor:
        found = []
        for text in texts:
            state = torch.zeros_like(self.table.weight[0])
            for byte in text.encode():
                state = torch.tanh(self.turn(state) + self.table.weight[byte])
            found.append(state)
        return torch.stack(found)  # [B, width]


class TomorrowTransformer(ModelMixin, ConfigMixin):
    """Two convolutions with time and text added between them."""

    @register_to_config
    def __init__(self, channels: int = 4, width: int = 16) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(channels, width, 3, padding=1)
        self.time = torch.nn.Linear(1, width)
        self.text = torch.nn.Linear(width, width)
        self.last = torch.nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, *, latents: torch.Tensor, progress: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor]:
        known = self.time(progress[:, None]) + self.text(words)
        return (self.last(torch.tanh(self.first(latents) + known[:, :, None, None])),)


class TomorrowPipeline(DiffusionPipeline):
    model_cpu_offload_seq = "letters->transformer->vae"

    def __init__(self, letters: Any, transformer: Any, vae: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(letters=letters, transformer=transformer, vae=vae, scheduler=scheduler)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        negative_prompt: str = "",
        height: int = 64,
        width: int = 64,
        num_inference_steps: int = 8,
        guidance_scale: float = 3.0,
        warmth: float = 0.0,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        device = self._execution_device
        words, without = (self.letters([text]) for text in (prompt, negative_prompt))
        words = words + warmth
        shape = (1, self.transformer.config.channels, height // self.vae_scale_factor, width // self.vae_scale_factor)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=words.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        for time in self.progress_bar(self.scheduler.timesteps):
            progress = (time / self.scheduler.config.num_train_timesteps).expand(1)
            (wanted,) = self.transformer(latents=latents, progress=progress, words=words)
            (other,) = self.transformer(latents=latents, progress=progress, words=without)
            velocity = other + guidance_scale * (wanted - other)
            (latents,) = self.scheduler.step(velocity, time, latents, return_dict=False)
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        images = self.image_processor.postprocess(decoded, output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)


def small() -> TomorrowPipeline:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        sample_size=64,
    )
    return TomorrowPipeline(Letters(), TomorrowTransformer(), vae, FlowMatchEulerDiscreteScheduler(shift=2.0))


def saved_in(folder: Path, dtype: torch.dtype) -> TomorrowPipeline:
    """The pipeline of a folder."""
    parts = {"letters": Letters, "transformer": TomorrowTransformer, "vae": AutoencoderKL}
    loaded = {name: kind.from_pretrained(folder / name, torch_dtype=dtype) for name, kind in parts.items()}
    return TomorrowPipeline(**loaded, scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"))

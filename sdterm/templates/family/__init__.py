"""A model family: a checkpoint that is one colour, to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdterm.hooks import (
    Conditioning,
    ModelFamily,
    ModelMatch,
    ModelSampling,
    PluginError,
    SamplingOptions,
    TextOptions,
    WeightsReader,
    hookimpl,
)

if TYPE_CHECKING:
    import torch

KEY = "my_extension.colour"  # float32 [3], RGB from -1 to 1


class OneColour:
    """What the engine uses of a loaded model; see `sdterm.hooks.Components`."""

    latent_channels, downscale = 3, 8
    latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]] = (
        ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)),
        (0.5, 0.5, 0.5),
    )

    def __init__(self, colour: torch.Tensor) -> None:
        self.colour = colour
        self.device, self.dtype = colour.device, colour.dtype
        self.modules: dict[str, torch.nn.Module] = {}  # a network goes here, for memory optimizers

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        """The noise levels the network was trained with."""
        import torch

        from sdterm.modelling.sampling import discrete_sampling

        return discrete_sampling(torch.linspace(0.9999, 0.005, 1000), options)

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        """What `denoise` is to know of each text; here that is nothing."""
        import torch

        return Conditioning({"context": torch.zeros(len(texts), 1, 1, device=self.device, dtype=self.dtype)})

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        """One network call: noisy latents x [B, C, h, w] at the levels sigma [B] → clean ones."""
        return self.colour.to(x)[:, None, None].expand_as(x)

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        """[B, 3, H, W], -1..1 → [B, C, h, w]."""
        return pixels[:, :, ::8, ::8]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] → [B, 3, H, W], -1..1."""
        return latents.repeat_interleave(8, 2).repeat_interleave(8, 3)


def detect(reader: WeightsReader) -> ModelMatch | None:
    """Whether it is ours, from the keys and shapes alone."""
    if KEY not in reader.shapes():
        return None
    return ModelMatch(native_size=64, downscale=8)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> OneColour:
    colour = reader.read([KEY], device, dtype)[KEY]
    if colour.shape != (3,):
        raise PluginError(f"{reader.path.name} has a colour that is not three numbers.")
    return OneColour(colour)


@hookimpl
def sdterm_model_families() -> list[ModelFamily]:
    return [ModelFamily(id="my_extension", label="My extension", detect=detect, build=build)]

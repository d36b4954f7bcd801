"""A model family: a checkpoint that is one colour, to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdterm.hooks import ModelFamily, ModelMatch, PluginError, TokenRules, WeightsReader, hookimpl

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

    def __init__(self, colour: torch.Tensor, alphas_cumprod: torch.Tensor) -> None:
        self.colour, self.alphas_cumprod = colour, alphas_cumprod
        self.device, self.dtype = colour.device, colour.dtype
        self.modules: dict[str, torch.nn.Module] = {}  # a network goes here, for memory optimizers

    def tokenize(self, text: str) -> list[int]:
        return []  # the prompt is ignored

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
        """Token ids [n, 77] → text vectors [n, 77, C]."""
        return tokens[..., None].to(self.dtype)

    def predict(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """The noise in x [B, C, h, w] at the timesteps t [B]."""
        a = self.alphas_cumprod[t.round().long().cpu()].to(x)[:, None, None, None]
        return (x - a**0.5 * self.colour[:, None, None]) / (1 - a) ** 0.5

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] → [B, 3, H, W], -1..1."""
        return latents.repeat_interleave(8, 2).repeat_interleave(8, 3)


def detect(reader: WeightsReader) -> ModelMatch | None:
    """Whether it is ours, from the keys and shapes alone."""
    if KEY not in reader.shapes():
        return None
    return ModelMatch(native_size=64, downscale=8)


def build(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> OneColour:
    import torch

    colour = reader.read([KEY], device, dtype)[KEY]
    if colour.shape != (3,):
        raise PluginError(f"{reader.path.name} has a colour that is not three numbers.")
    return OneColour(colour, torch.linspace(0.9999, 0.005, 1000))


@hookimpl
def sdterm_model_families() -> list[ModelFamily]:
    tokens = TokenRules(start=0, end=0, pad=0, comma=0)
    return [ModelFamily(id="my_extension", label="My extension", detect=detect, build=build, tokens=tokens)]

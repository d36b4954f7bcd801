"""A loaded model, as sdterm's engine uses it (`sdterm.hooks.Components`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from sdterm.hooks import Conditioning, ModelSampling, SamplingOptions, TextOptions
from sdterm.modelling.predictions import from_flow
from sdterm.modelling.sampling import FlowSampling

LENGTH = 16  # words of a text that are read


class PixelFlow:
    """Pixels are their own latents, so there is nothing to encode or decode."""

    latent_channels, downscale = 3, 1
    latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]] = (
        ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)),
        (0.5, 0.5, 0.5),
    )

    def __init__(self, unet: torch.nn.Module, words: Sequence[str], vectors: torch.Tensor) -> None:
        self.modules = {"unet": unet}
        self.device, self.dtype = vectors.device, vectors.dtype
        self._unet: Any = unet
        self._places = {word: place for place, word in enumerate(words, 1)}
        self._vectors = vectors  # [1 + words, width]

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        return FlowSampling()

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        """The vectors of the words that it knows, in the order of the text. All texts get one length, filled up with
        "no word", so that a text means the same whatever is encoded beside it."""
        read = [[self._places[w] for w in re.findall(r"\w+", t.lower()) if w in self._places] for t in texts]
        tokens = [(each + [0] * LENGTH)[:LENGTH] for each in read]
        return Conditioning({"words": self._vectors[torch.tensor(tokens, device=self.device)]})

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            velocity: torch.Tensor = self._unet(x, t, encoder_hidden_states=cond["words"], return_dict=False)[0]
            return velocity

        return from_flow(network, x, sigma, sampling, self.dtype)

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        return pixels

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

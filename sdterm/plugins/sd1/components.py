"""A loaded SD 1.x model, as the engine uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from sdterm.hooks import Conditioning, Layer, ModelSampling, SamplingOptions, TextOptions, TokenRules, WeightsReader
from sdterm.modelling.clip import Encoded, encode_texts
from sdterm.modelling.predictions import from_eps
from sdterm.modelling.sampling import discrete_sampling
from sdterm.plugins.sd1 import TOKENS
from sdterm.plugins.sd1.architecture import alphas_cumprod
from sdterm.plugins.sd1.tokenizer import tokenize

# Latents → RGB in 0..1: A1111's "Approx cheap" map for SD 1.x (sd_samplers_common.py), halved and centred.
SD1_LATENT_RGB = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)


class ClipEncoder:
    """CLIP as SD 1.x uses it."""

    rules: TokenRules = TOKENS

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self._module: Any = module
        self.token_embedding: torch.nn.Module = cast(Any, module).embeddings.token_embedding
        self.width: int = cast(Any, module).config.hidden_size
        self.device = device

    def tokenize(self, text: str) -> list[int]:
        return tokenize(text)

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> Encoded:
        """Hidden state -clip_skip, then the final layer norm."""
        output = self._module(input_ids=tokens, output_hidden_states=clip_skip > 1)
        if clip_skip == 1:
            return Encoded(output.last_hidden_state)
        layer = max(-clip_skip, -len(output.hidden_states))
        return Encoded(self._module.final_layer_norm(output.hidden_states[layer]))


class SD1Components:
    """CLIP text encoder, UNet and VAE of one checkpoint (see `sdterm.hooks.Components`)."""

    latent_channels = 4
    downscale = 8

    def __init__(
        self,
        reader: WeightsReader,
        text_encoder: torch.nn.Module,
        unet: torch.nn.Module,
        vae: torch.nn.Module,
        layers: Mapping[str, Layer],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.modules = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
        self.device, self.dtype = device, dtype
        self.latent_rgb = _latent_rgb(reader)
        self._alphas_cumprod = torch.from_numpy(alphas_cumprod(reader))
        self._encoder = ClipEncoder(text_encoder, device)
        self.layers = layers
        self.text_widths = (self._encoder.width,)
        # diffusers types its modules loosely
        self._unet, self._vae = cast(Any, unet), cast(Any, vae)

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        return discrete_sampling(self._alphas_cumprod, options)

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        context = encode_texts([self._encoder], texts, options).vectors
        return Conditioning({"context": context}, sequences=("context",))

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return cast(torch.Tensor, self._unet(x, t, encoder_hidden_states=cond["context"], return_dict=False)[0])

        return from_eps(network, x, sigma, sampling, self.dtype)

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        posterior = self._vae.encode(pixels.to(self.dtype), return_dict=False)[0]
        latents = posterior.mode() if rng is None else posterior.sample(rng)
        return cast(torch.Tensor, latents * self._vae.config.scaling_factor)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self._vae.decode(latents / self._vae.config.scaling_factor, return_dict=False)[0])


def _latent_rgb(reader: WeightsReader) -> tuple[Sequence[Sequence[float]], Sequence[float]]:
    fitted = reader.preview
    if fitted and len(fitted.get("rgb_factors", ())) == 4 and len(fitted.get("rgb_bias", ())) == 3:
        return fitted["rgb_factors"], fitted["rgb_bias"]
    return SD1_LATENT_RGB

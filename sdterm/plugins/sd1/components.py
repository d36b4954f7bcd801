"""A loaded SD 1.x model, as the engine uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from sdterm.hooks import WeightsReader
from sdterm.plugins.sd1.architecture import alphas_cumprod
from sdterm.plugins.sd1.tokenizer import tokenize

# Latents → RGB in 0..1: A1111's "Approx cheap" map for SD 1.x (sd_samplers_common.py), halved and centred.
SD1_LATENT_RGB = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)


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
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.modules = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
        self.device, self.dtype = device, dtype
        self.alphas_cumprod = torch.from_numpy(alphas_cumprod(reader))
        self.latent_rgb = _latent_rgb(reader)
        # diffusers and transformers type their modules loosely
        self._text_encoder, self._unet, self._vae = cast(Any, text_encoder), cast(Any, unet), cast(Any, vae)

    def tokenize(self, text: str) -> list[int]:
        return tokenize(text)

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
        """Hidden state -clip_skip, then the final layer norm, as A1111 does for SD 1.x."""
        output = self._text_encoder(input_ids=tokens, output_hidden_states=clip_skip > 1)
        if clip_skip == 1:
            return cast(torch.Tensor, output.last_hidden_state)
        layer = max(-clip_skip, -len(output.hidden_states))
        return cast(torch.Tensor, self._text_encoder.final_layer_norm(output.hidden_states[layer]))

    def predict(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self._unet(x, t, encoder_hidden_states=cond, return_dict=False)[0])

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self._vae.decode(latents / self._vae.config.scaling_factor, return_dict=False)[0])


def _latent_rgb(reader: WeightsReader) -> tuple[Sequence[Sequence[float]], Sequence[float]]:
    fitted = reader.preview
    if fitted and len(fitted.get("rgb_factors", ())) == 4 and len(fitted.get("rgb_bias", ())) == 3:
        return fitted["rgb_factors"], fitted["rgb_bias"]
    return SD1_LATENT_RGB

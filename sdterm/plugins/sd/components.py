"""A loaded Stable Diffusion model, as the engine uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch.nn.functional import interpolate

from sdterm.hooks import Conditioning, ModelSampling, SamplingOptions, TextOptions, WeightsReader
from sdterm.modelling.clip import TextEncoder, encode_texts
from sdterm.modelling.predictions import Prediction
from sdterm.modelling.sampling import discrete_sampling
from sdterm.plugins.sd.architecture import alphas_cumprod
from sdterm.plugins.sd.building import Part
from sdterm.plugins.sd.layers import layers_of
from sdterm.plugins.sd.statement import stated

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]
Vector = Callable[[torch.Tensor, TextOptions], torch.Tensor]
"""Pooled texts [B, P] and what they are for → the vector [B, V] that the UNet is given beside them."""

# Latents → RGB in 0..1: A1111's "Approx cheap" maps (sd_vae_approx.py), halved and centred.
SD1_LATENT_RGB: LatentRGB = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)
SDXL_LATENT_RGB: LatentRGB = (
    ((0.1724, 0.2084, 0.21975), (-0.09765, -0.0145, 0.0125), (0.0537, 0.0443, -0.00815), (-0.1865, -0.12495, -0.1044)),
    (0.5, 0.5, 0.5),
)

_PLAIN = 4
"""Channels of a UNet that sees latents alone. An inpainting UNet sees a mask and a masked image too."""

_OF_THE_IMAGE = ("width", "height", "crop_top", "crop_left", "aesthetic_score", "negative_aesthetic_score")
"""Fields of `TextOptions` that say nothing of the text."""


class SDComponents:
    """Text encoders, UNet and VAE of one checkpoint (see `sdterm.hooks.Components`).

    names: of each module, key in the file → the module's own names for it. vector: of models that are told more than
    texts. empty_negative: whether a negative prompt that is empty throughout is all zeros.
    """

    latent_channels = 4
    downscale = 8

    def __init__(
        self,
        reader: WeightsReader,
        parts: Mapping[str, Part],
        encoders: Sequence[TextEncoder],
        prediction: Prediction,
        device: torch.device,
        dtype: torch.dtype,
        *,
        latent_rgb: LatentRGB = SD1_LATENT_RGB,
        vector: Vector | None = None,
        empty_negative: bool = False,
    ) -> None:
        self.modules = {name: part.module for name, part in parts.items()}
        self.names = {name: part.names for name, part in parts.items()}
        self.layers = layers_of(self.modules, self.names)
        self.text_widths = tuple(encoder.width for encoder in encoders)
        self.device, self.dtype = device, dtype
        self.latent_rgb = _latent_rgb(reader, latent_rgb)
        self._zero_terminal_snr = stated(reader).zero_terminal_snr
        self._alphas_cumprod = torch.from_numpy(alphas_cumprod(reader))
        self._encoders, self._prediction = encoders, prediction
        self._vector, self._empty_negative = vector, empty_negative
        # diffusers types its modules loosely
        self._unet, self._vae = cast(Any, self.modules["unet"]), cast(Any, self.modules["vae"])
        sees_sizes = vector or self._unet.config.in_channels != _PLAIN
        self.unseen_options = frozenset(() if sees_sizes else _OF_THE_IMAGE)
        self._grey = lru_cache(1)(self._encoded_grey)

    def sampling(self, options: SamplingOptions) -> ModelSampling:
        zero = options.zero_terminal_snr or self._zero_terminal_snr
        return discrete_sampling(self._alphas_cumprod, replace(options, zero_terminal_snr=zero))

    def encode(self, texts: Sequence[str], options: TextOptions) -> Conditioning:
        """Source: A1111 sd_models_xl.get_learned_conditioning, processing.txt2img_image_conditioning."""
        encoded = encode_texts(self._encoders, texts, options)
        context, pooled = encoded
        if self._empty_negative and options.negative and not any(texts):
            context, pooled = torch.zeros_like(context), None if pooled is None else torch.zeros_like(pooled)
        tensors = {"context": context}
        if self._vector and pooled is not None:
            tensors["vector"] = self._vector(pooled, options).to(self.dtype)
        if self._unet.config.in_channels != _PLAIN:
            size = (options.height // self.downscale, options.width // self.downscale)
            tensors["concat"] = self._grey(size).expand(len(texts), -1, -1, -1)
        return Conditioning(tensors, sequences=("context",))

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, cond: Conditioning, sampling: ModelSampling
    ) -> torch.Tensor:
        def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            if "concat" in cond.tensors:
                x = torch.cat([x, cond["concat"]], dim=1)
            said = {"class_labels": cond["vector"]} if "vector" in cond.tensors else {}
            predicted = self._unet(x, t, encoder_hidden_states=cond["context"], return_dict=False, **said)[0]
            return cast(torch.Tensor, predicted)

        return self._prediction(network, x, sigma, sampling, self.dtype)

    def of_init(self, pixels: torch.Tensor, mask: torch.Tensor, weight: float) -> Mapping[str, torch.Tensor]:
        """Source: A1111 processing.inpainting_image_conditioning."""
        if self._unet.config.in_channels == _PLAIN:
            return {}
        latents = self.encode_image(torch.lerp(pixels, pixels * (1 - mask), weight), None)
        return {"concat": torch.cat([interpolate(mask, size=latents.shape[2:]).to(latents), latents], dim=1)}

    def encode_image(self, pixels: torch.Tensor, rng: torch.Generator | None) -> torch.Tensor:
        posterior = self._vae.encode(pixels.to(self._vae.dtype), return_dict=False)[0]
        latents = posterior.mode() if rng is None else posterior.sample(rng)
        return cast(torch.Tensor, latents * self._vae.config.scaling_factor)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents.to(self._vae.dtype) / self._vae.config.scaling_factor
        return cast(torch.Tensor, self._vae.decode(latents, return_dict=False)[0])

    def _encoded_grey(self, size: tuple[int, int]) -> torch.Tensor:
        """What an inpainting UNet is told where there is no image: a mask of ones over mid-grey [1, 5, h, w]."""
        height, width = (side * self.downscale for side in size)
        latents = self.encode_image(torch.zeros(1, 3, height, width, device=self.device), None)
        return torch.cat([torch.ones_like(latents[:, :1]), latents], dim=1)


def _latent_rgb(reader: WeightsReader, usual: LatentRGB) -> LatentRGB:
    fitted = reader.preview
    if fitted and len(fitted.get("rgb_factors", ())) == 4 and len(fitted.get("rgb_bias", ())) == 3:
        return fitted["rgb_factors"], fitted["rgb_bias"]
    return usual

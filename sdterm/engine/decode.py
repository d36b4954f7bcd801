"""Latents → pixels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from numpy.typing import NDArray

from sdterm.core.extensions.registry import ContractError
from sdterm.errors import SdtermError
from sdterm.hooks import Components
from sdterm.messages import message


class BlackImageError(SdtermError, ArithmeticError):
    """The decoder gave NaN, infinity or nothing but black."""

    code = "not_a_number"


def decode_image(components: Components, latents: torch.Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """One image from latents [C, h, w]: uint8 [H, W, 3]. Truncated, not rounded, as A1111 does. An image is decoded
    alone, so that its batch never changes it. `dtype`: of the model, or float32. Raises BlackImageError."""
    with vae_in(components, dtype):
        vae = components.modules.get("vae")
        weights = (weight.dtype for weight in vae.parameters() if weight.is_floating_point()) if vae else iter(())
        decoded = components.decode(latents[None].to(next(weights, dtype)))[0].float()
    if decoded.shape != (3, *(side * components.downscale for side in latents.shape[1:])):
        raise ContractError(
            message(
                "it decoded latents of shape {latents} to shape {pixels}",
                latents=tuple(latents.shape),
                pixels=tuple(decoded.shape),
            )
        )
    pixels = _pixels(decoded)
    if not pixels.any():
        raise BlackImageError(message("The decoded image is completely black."))
    return pixels


def approximate_image(decode: Callable[[torch.Tensor], torch.Tensor], latents: torch.Tensor) -> NDArray[Any]:
    """The same by what stands in for the model's decoder: the image may be smaller, and may be black."""
    decoded = decode(latents[None].float())[0]
    if decoded.dim() != 3 or len(decoded) != 3:
        raise ContractError(
            message(
                "it decoded latents of shape {latents} to shape {pixels}",
                latents=tuple(latents.shape),
                pixels=tuple(decoded.shape),
            )
        )
    return _pixels(decoded)


def _pixels(decoded: torch.Tensor) -> NDArray[Any]:
    pixels = ((decoded + 1) / 2).clamp(0, 1)
    if not torch.isfinite(pixels).all():
        raise BlackImageError(message("The decoded image contains NaN values."))
    image: NDArray[Any] = (pixels * 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return image


@contextmanager
def vae_in(components: Components, dtype: torch.dtype) -> Iterator[None]:
    """The VAE's weights in that precision for now. The other modules stay as they are, and so does the model."""
    vae = components.modules.get("vae")
    weights = [] if vae is None or dtype == components.dtype else [*chain(vae.parameters(), vae.buffers())]
    before = [(weight, weight.data) for weight in weights if weight.is_floating_point()]
    try:
        for weight, data in before:
            weight.data = data.to(dtype)
        yield
    finally:
        for weight, data in before:
            weight.data = data

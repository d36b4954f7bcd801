"""Latents → pixels."""

from typing import Any

import torch
from numpy.typing import NDArray

from sdterm.core.registry import ContractError
from sdterm.hooks import Components


class BlackImageError(ArithmeticError):
    """The decoder gave NaN, infinity or nothing but black."""


def decode_image(components: Components, latents: torch.Tensor) -> NDArray[Any]:
    """One image from latents [C, h, w]: uint8 [H, W, 3]. Truncated, not rounded, as A1111 does. An image is decoded
    alone, so that its batch never changes it. Raises BlackImageError."""
    decoded = components.decode(latents[None].to(components.dtype))[0].float()
    if decoded.shape != (3, *(side * components.downscale for side in latents.shape[1:])):
        raise ContractError(f"it decoded latents {tuple(latents.shape)} to {tuple(decoded.shape)}")
    pixels = ((decoded + 1) / 2).clamp(0, 1)
    if not torch.isfinite(pixels).all():
        raise BlackImageError("The decoded image is not a number.")
    if not pixels.any():
        raise BlackImageError("The decoded image is entirely black.")
    image: NDArray[Any] = (pixels * 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return image

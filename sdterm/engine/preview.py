"""Live previews: a linear map from latents to colours, small enough for any line."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]

MAX_BYTES = 8 * 1024
MAX_SIDE = 96  # pixels; with JPEG's worst case still below MAX_BYTES at the lowest quality


def colours(latents: torch.Tensor, latent_rgb: LatentRGB) -> NDArray[Any]:
    """Latents [C, h, w] on the CPU → uint8 [h, w, 3], a pixel per latent cell."""
    factors, bias = (torch.tensor(part, dtype=torch.float32) for part in latent_rgb)
    rgb = torch.einsum("chw,cr->hwr", latents.float(), factors) + bias
    pixels: NDArray[Any] = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return pixels


def preview_jpeg(latents: torch.Tensor, latent_rgb: LatentRGB) -> bytes:
    """One picture from latents [C, h, w] on the CPU, at most 8 KB, a pixel per latent cell (reduced above 96)."""
    picture = Image.fromarray(colours(latents, latent_rgb))
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    for quality in (90, 75, 50, 25):
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()

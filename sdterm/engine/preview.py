"""Live previews: a linear map from latents to colours, small enough for any line."""

from collections.abc import Sequence
from io import BytesIO

import torch
from PIL import Image

MAX_BYTES = 8 * 1024
MAX_SIDE = 96  # pixels; with JPEG's worst case still below MAX_BYTES at the lowest quality


def preview_jpeg(latents: torch.Tensor, latent_rgb: tuple[Sequence[Sequence[float]], Sequence[float]]) -> bytes:
    """One picture from latents [C, h, w] on the CPU, at most 8 KB, a pixel per latent cell (reduced above 96)."""
    factors, bias = (torch.tensor(part, dtype=torch.float32) for part in latent_rgb)
    rgb = torch.einsum("chw,cr->hwr", latents.float(), factors) + bias
    picture = Image.fromarray((rgb.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    for quality in (90, 75, 50, 25):
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()

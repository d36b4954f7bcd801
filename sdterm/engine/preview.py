"""Live previews: latents as pictures that are small enough for any line."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from sdterm.core.text import printable
from sdterm.engine.approximate import FULL
from sdterm.engine.decode import BlackImageError, approximate_image, decode_image
from sdterm.engine.run import Run
from sdterm.events import Warning
from sdterm.hooks import Components
from sdterm.messages import message

LatentRGB = tuple[Sequence[Sequence[float]], Sequence[float]]

MAX_BYTES = 8 * 1024
MAX_SIDE = 96  # pixels; with JPEG's worst case still below MAX_BYTES at the lowest quality
_SIDES = (384, 256, 192, 128)  # of pictures with more to show, as far as they fit


def colours(latents: torch.Tensor, latent_rgb: LatentRGB) -> NDArray[Any]:
    """Latents [C, h, w] on the CPU → uint8 [h, w, 3], a pixel per latent cell."""
    factors, bias = (torch.tensor(part, dtype=torch.float32) for part in latent_rgb)
    rgb = torch.einsum("chw,cr->hwr", latents.float(), factors) + bias
    pixels: NDArray[Any] = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return pixels


def preview(run: Run, components: Components, latents: torch.Tensor) -> bytes:
    """One picture from latents [C, h, w] on the CPU, at most 8 KB: made as the request asks for, or where that fails by
    the model's map from latents to colours, a pixel per latent cell. It may be called by any thread."""
    if picture := _shown(run, components, latents):
        return picture
    return _jpeg(colours(latents, components.latent_rgb))


def _shown(run: Run, components: Components, latents: torch.Tensor) -> bytes | None:
    here, decode = latents.to(run.device), run.approximations.preview
    if not decode and run.request.preview_method != FULL:
        return None
    try:
        with torch.inference_mode():
            pixels = approximate_image(decode, here) if decode else decode_image(components, here, components.dtype)
        return _jpeg(pixels, _SIDES)
    except BlackImageError:
        return None  # of the first steps, in half precision
    except Exception as error:  # of a family's code, or a device without memory for it
        said = message(
            "Previews cannot be made with {method}: {problem}",
            method=run.request.preview_method,
            problem=printable(str(error), 200),
        )
        run.warn(Warning(code="preview_method", message=said), keep=False)
        return None


def _jpeg(pixels: NDArray[Any], sides: Sequence[int] = ()) -> bytes:
    """Whatever fits, the largest first: of those sides at no less than middling quality."""
    picture = Image.fromarray(pixels)
    tries = [(side, quality) for side in sides for quality in (90, 75)]
    for side, quality in (*tries, *((MAX_SIDE, quality) for quality in (90, 75, 50, 25))):
        shown, buffer = picture.copy(), BytesIO()
        shown.thumbnail((side, side))
        shown.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()

"""AVIF, the infotext in EXIF's UserComment, as A1111 stores it."""

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, PluginError, hookimpl
from sdterm.messages import message
from sdterm.plugins.exif import exif

LARGEST = 65_535  # pixels a side; an AV1 frame header holds no more


def encode(image: Any, infotext: str, *, quality: int = 80) -> bytes:
    """uint8 [H, W, 3] or [H, W, 4] → AVIF."""
    from PIL import Image, features

    if not features.check("avif"):
        raise PluginError(message("This Pillow cannot write AVIF. Update it or use --format webp."))
    if max(image.shape) > LARGEST:
        raise PluginError(
            message("An AVIF image has at most {limit} pixels per side: use --format png.", limit=LARGEST)
        )
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "AVIF", quality=quality, exif=exif(infotext))
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    quality = Option("quality", 80, message("1 (small file) to 100 (high quality)."), 1, 100, a1111="jpeg_quality")
    return [OutputSaver(id="avif", label="AVIF", suffix=".avif", encode=encode, options=(quality,), alpha=True)]

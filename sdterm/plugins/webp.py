"""WebP, lossy or lossless, the infotext in EXIF's UserComment, as A1111 stores it."""

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, PluginError, hookimpl
from sdterm.messages import message
from sdterm.plugins.exif import exif

LARGEST = 16_383  # pixels a side


def encode(image: Any, infotext: str, *, quality: int = 80, lossless: bool = False) -> bytes:
    """uint8 [H, W, 3] or [H, W, 4] → WebP. Lossless, `quality` is the effort spent on making it small."""
    from PIL import Image

    if max(image.shape) > LARGEST:
        raise PluginError(message("A WebP image has at most {limit} pixels per side: use --format png.", limit=LARGEST))
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, lossless=lossless, exif=exif(infotext))
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    options = (
        Option("quality", 80, message("1 (small file) to 100 (high quality)."), 1, 100, a1111="jpeg_quality"),
        Option("lossless", False, message("Keep every pixel exactly."), a1111="webp_lossless"),
    )
    return [OutputSaver(id="webp", label="WebP", suffix=".webp", encode=encode, options=options, alpha=True)]

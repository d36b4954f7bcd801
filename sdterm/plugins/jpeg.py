"""JPEG, the infotext in EXIF's UserComment, as A1111 stores it."""

from io import BytesIO
from typing import Any

from sdterm.hooks import Option, OutputSaver, PluginError, hookimpl
from sdterm.messages import message
from sdterm.plugins.exif import exif

LARGEST = 65_535  # pixels a side
_SEGMENT = 65_533  # bytes; a JPEG segment's length field holds no more


def encode(image: Any, infotext: str, *, quality: int = 80) -> bytes:
    """uint8 [H, W, 3] → JPEG."""
    from PIL import Image

    if max(image.shape) > LARGEST:
        raise PluginError(message("A JPEG image has at most {limit} pixels per side: use --format png.", limit=LARGEST))
    header = exif(infotext)
    if len(header) > _SEGMENT:
        raise PluginError(message("The infotext is too long for a JPEG (64 KB): use --format png."))
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, exif=header)
    return buffer.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    quality = Option("quality", 80, message("1 (small file) to 100 (high quality)."), 1, 100, a1111="jpeg_quality")
    return [OutputSaver(id="jpeg", label="JPEG", suffix=".jpg", encode=encode, options=(quality,))]

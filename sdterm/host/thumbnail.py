"""Small pictures of saved images."""

from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError


class ThumbnailError(RuntimeError):
    """The image is gone, or is none any more."""


def thumbnail(path: Path, size: int) -> bytes:
    """A JPEG at most `size` pixels wide and high. Raises ThumbnailError."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (size, size))
            small = image.convert("RGB")
            small.thumbnail((size, size))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ThumbnailError(f"{path} cannot be shown: it is gone or damaged.") from error
    file = BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()

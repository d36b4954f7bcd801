"""Small pictures of saved images."""

from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sdterm.core.files import regular
from sdterm.errors import SdtermError
from sdterm.messages import message


class ThumbnailError(SdtermError, RuntimeError):
    """The image is gone, or is none any more."""

    code = "no_image"


def thumbnail(path: Path, size: int) -> bytes:
    """A JPEG at most `size` pixels wide and high. Raises ThumbnailError."""
    try:
        with open(path, "rb", opener=regular) as file, Image.open(file) as image:
            image.draft("RGB", (size, size))
            small = image.convert("RGB")
            small.thumbnail((size, size))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ThumbnailError(message("{path} cannot be shown: it is missing or damaged.", path=path)) from error
    jpeg = BytesIO()
    small.save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()

"""From the bytes of an image file to pixels of the size in which they will be shown."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps

from sdterm.errors import SdtermError
from sdterm.tui.language import tr

_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF")
_MOST_PIXELS = 40_000_000  # 120 MB while a PNG of that size is decoded


class PictureError(SdtermError, ValueError):
    """The bytes cannot be shown as a picture. The message is a sentence for the user."""

    code = "no_image"


def read(data: bytes, width: int, height: int) -> Image.Image:
    """The picture as RGB, shrunk (never grown) until it just fills `width` x `height` pixels in one direction and is
    within in the other. Raises PictureError."""
    with _opened(data) as image:
        image.draft("RGB", (width, height))  # a JPEG is decoded at the size that is needed
        return _shrunk(image.convert("RGB"), width, height)


def read_whole(data: bytes) -> Image.Image:
    """The picture as RGB in its own size, the way up that its file says. Raises PictureError."""
    with _opened(data) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The picture before it is decoded; what that raises becomes a PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings would be printed over the screen
            with Image.open(BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise PictureError(_too_large(image.width, image.height))
                yield image
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(tr("This image is too large to be shown here.")) from error
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders stumble over
        raise PictureError(tr("This file cannot be shown: it is damaged or not an image.")) from error


def fit(size: tuple[int, int], columns: int, rows: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows, within those given, that keep the aspect ratio of `size`; at least one of each. `cell`: width
    and height of a character in any unit."""
    width, height = size[0] / cell[0], size[1] / cell[1]
    scale = min(columns / width, rows / height)
    return min(columns, max(1, round(width * scale))), min(rows, max(1, round(height * scale)))


def _shrunk(image: Image.Image, width: int, height: int) -> Image.Image:
    image.thumbnail((max(1, width), max(1, height)), Image.Resampling.BOX)
    return image


def _too_large(width: int, height: int) -> str:
    return tr("This image of {width}x{height} pixels is too large to be shown here.", width=width, height=height)

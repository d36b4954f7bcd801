"""The infotext inside image files."""

import warnings
from pathlib import Path

from PIL import Image

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286


class ImageFileError(ValueError):
    """A file cannot be read as an image."""


def read_infotext(path: Path) -> str | None:
    """The infotext of a PNG (`parameters` chunk) or of a file with EXIF (UserComment); None if it holds none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about damage that does not matter here
            with Image.open(path) as image:
                image.load()  # PNG may keep its text behind the pixels
                comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
                text = image.info.get("parameters")
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders stumble over
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no sound image"
        raise ImageFileError(f"{path} cannot be read: {reason}.") from error
    return _user_comment(comment) or (text if isinstance(text, str) else None)


def _user_comment(comment: object) -> str | None:
    """EXIF's UserComment: eight bytes name the encoding; A1111 writes UNICODE and big-endian UTF-16."""
    if not isinstance(comment, bytes) or len(comment) <= 8:
        return None
    encoding = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}.get(comment[:8], "utf-8")
    return comment[8:].decode(encoding, errors="replace")

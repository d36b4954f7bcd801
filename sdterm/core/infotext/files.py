"""The infotext inside image files, wherever programs of A1111's family put it, and their pixels."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from sdterm.core.a1111 import NOVELAI_SAMPLERS
from sdterm.core.files import regular
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext import upscaled
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_MOST = 1 << 20  # characters or bytes of text; A1111's own longest are a few KB

_NO_TEXTS = {
    "parameters",
    "comment",
    "exif",
    "icc_profile",
    "jfif",
    "jfif_version",
    "jfif_unit",
    "jfif_density",
    "dpi",
} | {
    *("loop", "background", "timestamp", "duration", "progressive", "progression", "chromaticity", "photoshop"),
}
"""What Pillow tells of a file that nobody wrote into it as a text."""

_HEADERS = {b"ASCII\0\0\0": "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp", b"\0" * 8: "utf-8"}


class ImageFileError(SdtermError, ValueError):
    """A file cannot be read as an image."""

    code = BAD_REQUEST


def read_infotext(path: Path) -> str | None:
    """The infotext of an image file (PNG, JPEG, WebP, AVIF, GIF; NovelAI's too), of the `.txt` beside it, or of a text
    file; None if it holds none. Pixels are decoded only where a PNG may keep its text behind them."""
    with _opened(path) as image:
        if image is None:
            content = _text_file(path).strip()
            if path.suffix.lower() != ".txt" and not infotext.is_infotext(content):
                raise ImageFileError(message("{file} cannot be read: the image is damaged.", file=path))
            return content or None
        text = _of_image(image)
        if not text and image.format == "PNG":
            image.load()
            text = _of_image(image)
        since = image.info.get(upscaled.TEXT)
        if text and isinstance(since, str):
            text = upscaled.joined(text, since)
    if text and len(text) > _MOST:
        raise ImageFileError(
            message(
                "{file} holds {length:,} characters of text, too many for an infotext.", file=path, length=len(text)
            )
        )
    if not text and (beside := path.with_suffix(".txt")).is_file():
        return _text_file(beside).strip() or None
    return text


def infotext_in(data: bytes) -> str:
    """The infotext in the bytes of an image file; empty if it holds none. Raises ImageFileError."""
    with _opened(data) as image:
        text = _of_image(image) if image else None
    return text if text and len(text) <= _MOST else ""


def texts_in(data: bytes) -> dict[str, Any]:
    """What else the bytes of an image file say of it, by name: what Pillow found beside pixels and infotext. Raises
    ImageFileError."""
    with _opened(data) as image:
        if image is None:
            raise ImageFileError(message("The image cannot be read: it is not an image file."))
        info = image.info
    return {
        str(name): value
        for name, value in info.items()
        if isinstance(value, str | int | float | bool) and name not in _NO_TEXTS and len(str(value)) <= _MOST
    }


def infotext_from(source: str) -> str:
    """The infotext that `source` names (an image or text file) or is. Raises ImageFileError."""
    text = source.encode("utf-8", errors="replace").decode()  # arguments may hold bytes that are no text
    try:
        is_file = Path(source).exists()
    except (OSError, ValueError):  # too long, or with a NUL: no path
        is_file = False
    if not is_file and infotext.is_infotext(text):
        return text
    if not is_file and "\n" in text:
        raise ImageFileError(
            message("This text is not an infotext: its last line has no parameters such as `Steps: 20`.")
        )
    found = read_infotext(Path(source))
    if found is None:
        raise ImageFileError(
            message("{source} has no infotext: another program made it or saved it again.", source=source)
        )
    return found


def read_pixels(file: Path | bytes) -> "NDArray[np.uint8]":
    """The picture as uint8 [H, W, 3]. Raises ImageFileError."""
    import numpy as np  # the host reads infotexts alone, and starts without it

    with _opened(file) as image:
        if image is None:
            raise ImageFileError(message("{file} cannot be read: it is not an image file.", file=str(file)[:100]))
        return np.asarray(image.convert("RGB"))


def image_format(path: Path) -> str:
    """Pillow's name of the file's format, e.g. `PNG`. Raises ImageFileError."""
    with _opened(path) as image:
        return (image.format or "") if image else ""


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header. Raises ImageFileError."""
    with _opened(path) as image:
        if image is None:
            raise ImageFileError(message("{file} cannot be read: it is not an image file.", file=path))
        return image.size


@contextmanager
def _opened(file: Path | bytes) -> Iterator[Image.Image | None]:
    """The image, its header read; None if it is no image. Whatever goes wrong meanwhile is an ImageFileError."""
    name = file if isinstance(file, Path) else message("the image")
    try:
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise ImageFileError(message("{file} cannot be read: it is not a file.", file=file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about damage that does not matter here
            try:
                image = Image.open(file if isinstance(file, Path) else BytesIO(file))
            except UnidentifiedImageError:
                yield None
                return
            with image:
                yield image
    except ImageFileError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders stumble over
        reason = error.strerror if isinstance(error, OSError) and error.strerror else message("the image is damaged")
        raise ImageFileError(message("{file} cannot be read: {problem}.", file=name, problem=reason)) from error


def _of_image(image: Image.Image) -> str | None:
    """In A1111's order: EXIF's UserComment over the text chunk, then a comment; NovelAI's record over all."""
    info = image.info
    if info.get("Software") == "NovelAI" and (converted := _novelai(info, image.size)):
        return converted
    chunk = info.get("parameters")
    text = _exif(image) or (_api_answer(chunk) if isinstance(chunk, str) else None)
    if text:
        return text
    comment = info.get("comment")
    said = comment.decode("utf-8", errors="replace") if isinstance(comment, bytes) else comment
    return said if isinstance(said, str) and infotext.is_infotext(said[:_MOST]) else None


def _api_answer(text: str) -> str:
    """The sample program of A1111's API stores the answer's `info`, JSON, where the infotext belongs."""
    if text.lstrip().startswith("{"):
        try:
            answer = json.loads(text)
            return str(answer["infotexts"][answer.get("index_of_first_image", 0)])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass
    return text


def _novelai(info: Mapping[Any, Any], size: tuple[int, int]) -> str | None:
    """NovelAI's JSON as A1111 converts it."""
    try:
        made = json.loads(info["Comment"])
        sampler = str(made["sampler"])
        parameters = {
            "Steps": made["steps"],
            "Sampler": NOVELAI_SAMPLERS.get(sampler, sampler),
            "CFG scale": made["scale"],
            "Seed": made["seed"],
            "Size": f"{size[0]}x{size[1]}",
            "Clip skip": 2,
            "ENSD": 31337,
        }
        return infotext.write(str(info.get("Description", "")), str(made["uc"]), parameters)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _exif(image: Image.Image) -> str | None:
    if "exif" not in image.info:  # without this, Pillow decodes a PNG to look for it
        return None
    try:
        return _user_comment(image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT))
    except Exception:  # damaged EXIF is no reason to miss the text chunk
        return None


def _user_comment(comment: object) -> str | None:
    """EXIF's UserComment: eight bytes name the encoding; A1111 writes UNICODE and big-endian UTF-16."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else None
    header, content = comment[:8], comment[8:]
    if header == b"UNICODE\0":
        encoding = _unicode_encoding(content)
    elif header in _HEADERS:
        encoding = _HEADERS[header]
    else:
        content, encoding = comment, "utf-8"
    return content.decode(encoding, errors="replace").strip("\0") or None


def _unicode_encoding(content: bytes) -> str:
    """Which UTF-16 it is, or UTF-8 in spite of the header: by its mark, else by where ASCII's zero bytes lie."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    even, odd = content[::2].count(0), content[1::2].count(0)
    if not (even or odd) and b": " in content:
        return "utf-8"
    return "utf-16-le" if odd > even else "utf-16-be"


def _text_file(path: Path) -> str:
    """A text file's content: UTF-8, or UTF-16 with its mark, as Windows writes both."""
    try:
        with open(path, "rb", opener=regular) as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise ImageFileError(message("{file} cannot be read: it is neither an image nor an infotext.", file=path))
        mark = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if mark else "utf-8-sig")
    except OSError as error:
        raise ImageFileError(
            message("{file} cannot be read: {problem}.", file=path, problem=error.strerror or error)
        ) from error
    except UnicodeDecodeError as error:
        raise ImageFileError(
            message("{file} cannot be read: it is neither an image nor UTF-8 text.", file=path)
        ) from error
    if "\0" in text:
        raise ImageFileError(message("{file} cannot be read: the image is damaged.", file=path))
    return text

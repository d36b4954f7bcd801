"""Pictures that go into a job (init images, masks), each a file under the SHA-256 of its bytes.

What a picture is can be told from its header alone, and is checked there, before a pixel of it takes memory.
"""

import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from sdterm.core.files import growing_file, regular, sync
from sdterm.core.text import file_size, printable
from sdterm.errors import SdtermError
from sdterm.messages import message

FOLDER = "inputs"
MOST_BYTES = 256 * 2**20
"""Of a picture's file."""
MOST_PIXELS = 2**26
"""Of a picture: 8192 × 8192. Decoded, they take a quarter of a gigabyte."""
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Pillow's names. Some of what else it reads starts other programs (EPS), or is nobody's picture."""

_READ = message("PNG, JPEG, WebP, AVIF, GIF, BMP and TIFF are supported")
_DIGEST = re.compile("[0-9a-f]{64}")
_NUMBERS = ("I", "F")  # measurements of 32 bits: which of them is white, nobody says
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


class InputError(SdtermError, ValueError):
    """A file is no picture that a job can start from."""

    code = "bad_input"


class UnknownInputError(InputError):
    """There is no input of that digest."""

    code = "unknown_input"


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 as it is written here."""
    return bool(_DIGEST.fullmatch(text))


class Inputs:
    """The inputs of a data folder. Methods raise OSError if the disk does not do as it should."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def path(self, digest: str) -> Path:
        """Where the input of that digest lies, if it is there. Raises InputError."""
        if not is_digest(digest):
            raise InputError(
                message(
                    "{hash} is not a SHA-256 hash, which has 64 characters 0-9 and a-f.", hash=printable(digest, 80)
                )
            )
        return self.folder / digest

    def has(self, digest: str) -> bool:
        """Raises InputError if it is no digest."""
        return self.path(digest).is_file()

    def read(self, digest: str) -> Image.Image:
        """The picture as `decoded` gives it. Raises InputError."""
        name = message("Input {hash}", hash=printable(digest[:12]))
        try:
            with open(self.path(digest), "rb", opener=_own) as file:
                data = file.read(MOST_BYTES + 1)
        except FileNotFoundError as error:
            raise UnknownInputError(message("{name} no longer exists. Upload the image again.", name=name)) from error
        except OSError as error:
            raise InputError(
                message("{name} cannot be read: {problem}.", name=name, problem=error.strerror or error)
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError(message("{name} was changed on disk. Upload the image again.", name=name))
        return decoded(data, name)

    def put(self, data: bytes | Iterable[bytes], digest: str | None = None) -> str:
        """Keep a picture's file under its digest, which is returned. Raises InputError if it is no picture, is too
        large, or has another digest than the one given; nothing is left of it then."""
        with self.receive(digest) as incoming:
            for chunk in (data,) if isinstance(data, bytes) else data:
                incoming.write(chunk)
            return incoming.keep()

    @contextlib.contextmanager
    def receive(self, digest: str | None = None) -> Iterator["Incoming"]:
        """A new input, to be written bit by bit; unless it is kept, nothing is left of it. Raises InputError if what is
        given is no digest."""
        if digest is not None:
            self.path(digest)
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with growing_file(self.folder) as (path, file):
            yield Incoming(self, path, file, digest)


class Incoming:
    """An input on its way to the disk."""

    def __init__(self, inputs: Inputs, path: Path, file: BinaryIO, digest: str | None) -> None:
        self._inputs, self._path, self._file, self._digest = inputs, path, file, digest
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, chunk: bytes) -> None:
        """Raises InputError when it gets too large."""
        self._size += len(chunk)
        _check_bytes(self._size, message("The file"))
        self._hash.update(chunk)
        self._file.write(chunk)

    def keep(self) -> str:
        """Give it its name, once all is written: its digest. Raises InputError."""
        digest = self._hash.hexdigest()
        if self._digest not in (None, digest):
            raise InputError(
                message(
                    "The uploaded data has the SHA-256 {found}…, not {wanted}…: it was changed on the way, "
                    "or is another file.",
                    found=digest[:12],
                    wanted=self._digest[:12],
                )
            )
        self._file.flush()
        with _header(self._file, message("The file")):
            pass
        sync(self._file)
        self._path.replace(self._inputs.path(digest))
        return digest


def decoded(data: bytes, name: str) -> Image.Image:
    """A picture, RGB or (if it has any transparency) RGBA of 8 bits, as its camera held it: EXIF's orientation is
    applied. Of an animation its first picture. Colours are the file's numbers; a colour profile is not applied. `name`
    begins the sentence. Raises InputError."""
    with _header(BytesIO(data), name) as image:
        image.load()
        _turn_upright(image)
        return _eight_bits(image)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture's file, by its header. Raises InputError."""
    name = printable(str(path))
    try:
        with open(path, "rb", opener=regular) as file, _header(file, name) as image:
            return image.size
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            message("{name} cannot be read: {problem}.", name=name, problem=error.strerror or error)
        ) from error


@contextlib.contextmanager
def _header(file: BinaryIO, name: str) -> Iterator[Image.Image]:
    """An image of which the header is read, and is within the limits. Whatever goes wrong with it is an InputError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not size:
        raise InputError(message("{name} is empty.", name=name))
    _check_bytes(size, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage that does not matter here, and of sizes that are checked below
            try:
                image = Image.open(file, formats=FORMATS)
            except UnidentifiedImageError as error:
                raise InputError(
                    message("{name} is not an image that sdterm can read: {formats}.", name=name, formats=_READ)
                ) from error
            except Image.DecompressionBombError as error:
                raise InputError(
                    message("{name} has too many pixels; the limit is {limit:,}.", name=name, limit=MOST_PIXELS)
                ) from error
            with image:
                width, height = image.size
                if not 0 < width * height <= MOST_PIXELS:
                    raise InputError(
                        message(
                            "{name} has {width} × {height} pixels; the limit is {limit:,} pixels. Make it smaller.",
                            name=name,
                            width=width,
                            height=height,
                            limit=MOST_PIXELS,
                        )
                    )
                if image.mode in _NUMBERS:
                    raise InputError(
                        message("{name} has 32-bit numbers instead of colors. Save it with 8 or 16 bits.", name=name)
                    )
                yield image
    except InputError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes its decoders stumble over
        raise InputError(message("{name} is damaged: part of the image cannot be read.", name=name)) from error


def _check_bytes(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise InputError(
            message("{name} is larger than {limit}, the limit for an image.", name=name, limit=file_size(MOST_BYTES))
        )


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # EXIF that is damaged turns nothing
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
        image.info.pop("transparency", None)  # one shade of 65,536, which is gone
    clear = image.mode in _WITH_ALPHA or "transparency" in image.info
    return image.convert("RGBA" if clear else "RGB")


def _own(path: str, flags: int) -> int:
    """What is kept is a file of its own, never a link to another's."""
    return regular(path, flags | os.O_NOFOLLOW)

"""Pictures in the outputs folder that the gallery does not list: found, read and listed again.

The gallery is an index in the host's database; the pictures themselves are files with their infotexts. Where that index
was lost, they are all that it takes to make it anew.
"""

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sdterm.core.files import legible
from sdterm.core.infotext.files import ImageFileError, image_size, read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.output.saving import ENDINGS
from sdterm.events import PictureKind, PicturesFound
from sdterm.host.log import EventLog
from sdterm.host.pictures import FoundPicture, Pictures
from sdterm.host.threads import in_thread

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif"}
_AT_ONCE = 50  # files read between two looks at the database
_TOLD_EVERY = 1.0  # seconds


async def find_pictures(folder: Path, pictures: Pictures, log: EventLog) -> None:
    """List again what lies in a folder and has an infotext; events tell how far that is."""
    files = await in_thread(lambda: sorted(image_files(folder), key=_when))
    unknown = [file for file in files if not pictures.lists(file)]
    added, told = 0, time.monotonic()
    for first in range(0, len(unknown), _AT_ONCE):
        part = unknown[first : first + _AT_ONCE]
        added += pictures.add_found(await in_thread(partial(_read_all, part)))
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            log.add(None, PicturesFound(added=added, looked=first + len(part), files=len(unknown)))
    log.add(None, PicturesFound(added=added, looked=len(unknown), files=len(unknown), done=True))


def image_files(folder: Path) -> Iterator[Path]:
    """The files below a folder that may be pictures. Those whose names are no text cannot be listed."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(where, name)
            if os.path.splitext(name)[1].lower() in _SUFFIXES and not name.startswith(".") and legible(path) == path:
                yield Path(path)


def _when(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _read_all(files: Sequence[Path]) -> list[FoundPicture | None]:
    return [*map(_read, files)]


def _read(file: Path) -> FoundPicture | None:
    """None for what is no picture, or has no infotext."""
    try:
        if not (text := read_infotext(file)):
            return None
        width, height = image_size(file)
    except (ImageFileError, OSError):
        return None
    return FoundPicture(str(file), width, height, text, _when(file), _kind(file, text))


def _kind(file: Path, infotext: str) -> PictureKind:
    """By its name, which A1111's are, too, or by what was done to it."""
    if file.name.startswith("grid"):
        return "grid"
    if "Postprocess upscaler" in parse(infotext).parameters:
        return "upscaled"
    return next((kind for kind, ending in ENDINGS.items() if file.stem.endswith(ending)), "image")

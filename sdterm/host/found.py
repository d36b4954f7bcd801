"""Pictures in the outputs folder that the gallery does not list: found, read and listed again.

The gallery is an index in the host's database; the pictures themselves are files with their infotexts. Where that index
was lost, they are all that it takes to make it anew.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sdterm.core.infotext.files import ImageFileError, image_size, read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.output.found import image_files, when
from sdterm.core.output.saving import ENDINGS
from sdterm.events import PictureKind, PicturesFound
from sdterm.host.log import EventLog
from sdterm.host.pictures import FoundPicture, Pictures
from sdterm.host.threads import in_thread

_AT_ONCE = 50  # files read between two looks at the database
_TOLD_EVERY = 1.0  # seconds


async def find_pictures(folder: Path, pictures: Pictures, log: EventLog) -> None:
    """List again what lies in a folder and has an infotext; events tell how far that is."""
    files = await in_thread(lambda: sorted(image_files(folder), key=when))
    unknown = [file for file in files if not pictures.lists(file)]
    added, told = 0, time.monotonic()
    for first in range(0, len(unknown), _AT_ONCE):
        part = unknown[first : first + _AT_ONCE]
        added += pictures.add_found(await in_thread(partial(_read_all, part)))
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            log.add(None, PicturesFound(added=added, looked=first + len(part), files=len(unknown)))
    log.add(None, PicturesFound(added=added, looked=len(unknown), files=len(unknown), done=True))


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
    return FoundPicture(str(file), width, height, text, when(file), _kind(file, text))


def _kind(file: Path, infotext: str) -> PictureKind:
    """By its name, which A1111's are, too, or by what was done to it."""
    if file.name.startswith("grid"):
        return "grid"
    if "Postprocess upscaler" in parse(infotext).parameters:
        return "upscaled"
    return next((kind for kind, ending in ENDINGS.items() if file.stem.endswith(ending)), "image")

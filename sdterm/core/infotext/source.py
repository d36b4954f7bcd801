"""The init image and the mask of a picture that is to be drawn again. An infotext does not hold them: ours has their
digests, A1111's, if it was told to, the MD5 of the init image's pixels."""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sdterm.core.files import regular
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.keys import INIT_HASH, OF_INIT, OF_MASK
from sdterm.core.inputs import MOST_BYTES, InputError, Inputs, decoded
from sdterm.core.output.found import image_files, when
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

SEARCHED = 20.0
"""Seconds that pictures are read for, to find the one of an MD5. What was read once need not be again."""
_CACHE = Path("cache", "pixels.json")


class MissingSourceError(SdtermError, LookupError):
    """What a picture was drawn from is not here. The message is a sentence."""

    code = BAD_REQUEST

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def with_sources(
    infotext: str, fields: Mapping[str, Any], root: Path, outputs: Path, given: Collection[str] = ()
) -> dict[str, Any]:
    """The fields of a request that `infotext` gives, with an init image and a mask that are among the inputs of the
    data folder `root`. Looked for are inputs and the pictures below `outputs`. given: those of the two that need not be
    looked for. Raises MissingSourceError."""
    said, inputs = parse(infotext).parameters, Inputs(root)
    inits, mask = fields.get("init_images") or (), fields.get("mask") or ""
    if not inits and (fields.get("hires") or not any(key in said for key in OF_INIT)):
        return dict(fields)
    if "init_images" not in given and not (inits and all(map(inputs.has, inits))):
        inits = (_found(said.get(INIT_HASH, ""), inputs, root, outputs),)
    has_mask = inputs.has(mask) if mask else not any(key in said for key in OF_MASK)
    if "mask" not in given and not has_mask:
        raise MissingSourceError(
            message("This image was made with a mask that is missing here. Provide the mask with --mask FILE."), "mask"
        )
    return {**fields, "init_images": inits, "mask": mask}


def _found(md5: str, inputs: Inputs, root: Path, outputs: Path) -> str:
    files = sorted(_files(inputs.folder), key=when, reverse=True), sorted(image_files(outputs), key=when, reverse=True)
    there = find_pixels(md5, (file for part in files for file in part), root / _CACHE) if md5 else None
    if not there:
        raise MissingSourceError(
            message("This image was made from an init image that is missing here. Provide it with --init FILE."),
            "init_images",
        )
    return inputs.put(_content(there))


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (file for file in folder.iterdir() if not file.name.startswith("."))


def find_pixels(md5: str, files: Iterable[Path], cache: Path, seconds: float = SEARCHED) -> Path | None:
    """The first of the files whose pixels have that MD5, as A1111 computes it of init images. So many seconds are spent
    on reading what the cache does not know."""
    known = read_sealed(cache)
    known = known if isinstance(known, dict) else {}
    before, deadline = len(known), time.monotonic() + seconds
    try:
        return next((file for file in files if _md5_of(file, known, deadline) == md5.lower()), None)
    finally:
        if len(known) != before:
            write_sealed(cache, known)


def _md5_of(file: Path, known: dict[str, str], deadline: float) -> str | None:
    try:
        there = file.stat()
        key = f"{file}\n{there.st_size}\n{there.st_mtime_ns}"
        if key not in known and time.monotonic() < deadline:
            known[key] = _md5(file)
    except OSError:
        return None
    return known.get(key)


def _md5(file: Path) -> str:
    """Empty for what is no picture. Raises OSError."""
    try:
        return hashlib.md5(decoded(_content(file), str(file)).tobytes(), usedforsecurity=False).hexdigest()
    except InputError:
        return ""


def _content(file: Path) -> bytes:
    with open(file, "rb", opener=regular) as opened:
        return opened.read(MOST_BYTES + 1)

"""Frozen copies: an extension as it was at one moment, kept under its digest for as long as a job may need it."""

import contextlib
import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sdterm.core.extensions.source import Source, digest, files_of
from sdterm.core.files import regular
from sdterm.messages import message

FOLDER = Path("cache", "extensions")


class UnsettledError(OSError):
    """The files changed while they were copied."""


def freeze(root: Path, source: Source) -> Source:
    """The same extension, at a copy that does not change. Raises UnsettledError if it is no longer what its digest
    says, as while an editor or git writes its files; another OSError if it cannot be copied."""
    if kept := frozen(root, source.slug, source.digest):
        return replace(source, location=str(kept))
    path = Path(source.location)
    place = root / FOLDER / source.slug / source.digest
    shutil.rmtree(place, ignore_errors=True)  # a damaged one
    staging = place.with_name(f".{source.digest}.{os.getpid()}")
    copy = staging / path.name
    try:
        for file in files_of(path):
            target = copy / file.relative_to(path) if path.is_dir() else copy
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "rb", opener=regular) as there, target.open("xb") as here:
                shutil.copyfileobj(there, here)
        if digest(copy) != source.digest:
            raise UnsettledError(message("{name} is changing at this moment.", name=path.name))
        with contextlib.suppress(OSError):  # another process was faster
            staging.rename(place)
    except FileNotFoundError as error:
        raise UnsettledError(message("{name} is changing at this moment.", name=path.name)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return replace(source, location=str(place / path.name))


def frozen(root: Path, slug: str, wanted: str) -> Path | None:
    """Where the copy with the digest that is wanted lies; None if there is none, or if it is not what it was."""
    place = root / FOLDER / slug / wanted
    with contextlib.suppress(OSError):
        return next((copy for copy in place.iterdir() if digest(copy) == wanted), None)
    return None


def sweep(root: Path, needed: Collection[tuple[str, str]]) -> None:
    """Delete all copies but those (slug, digest)."""
    for place in (root / FOLDER).glob("*/*"):
        if (place.parent.name, place.name) not in needed:
            shutil.rmtree(place, ignore_errors=True)

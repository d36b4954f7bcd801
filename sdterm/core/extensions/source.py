"""Where a plugin comes from, and what identifies it."""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdterm.core.files import regular

_JUST_NOW = 3 * 10**9
"""Nanoseconds: two changes so near to each other may have the same time on some file system."""

Stamps = Mapping[Path, os.stat_result | None]


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from. `digest` identifies its content: same digest, same behaviour."""

    slug: str
    origin: Literal["built-in", "package", "extension"]
    location: str
    digest: str
    refusal: str | None = None
    """Why it is not to be loaded: switched off, writable by everyone …"""
    notice: str | None = None
    """What its user should know though it is loaded."""
    site: str | None = None
    """A folder with packages that it alone brought, to be importable when it is loaded."""
    version: str = ""
    """What it calls its version; of a package the package's name, too."""

    @property
    def fields(self) -> dict[str, Any]:
        """For JSON; `Source(**fields)` is the same one."""
        return dict(vars(self))


_known: dict[Path, tuple[list[tuple[Path, tuple[int, ...]]], str]] = {}
"""Path → its files as they were when they were read, and their digest."""


def digest(path: Path) -> str:
    """Identifies the content of a file, or of every source and data file under a folder. Files are read again only once
    the system says that they have changed, or might have."""
    seen = stamps(path)
    files = [(file, _identity(stamp)) for file, stamp in seen.items()]
    before, known = _known.get(path, ([], ""))
    if files == before:
        return known
    recently, is_whole = time.time_ns() - _JUST_NOW, True
    content = hashlib.sha256()
    for file in seen:
        content.update(f"{file.relative_to(path) if file != path else file.name}\0".encode(errors="surrogateescape"))
        try:
            with open(file, "rb", opener=regular) as opened:
                content.update(opened.read())
        except OSError:
            content.update(b"unreadable")  # loading it will say why
            is_whole = False
    found = content.hexdigest()[:16]
    if is_whole and all(stamp and max(stamp.st_mtime_ns, stamp.st_ctime_ns) < recently for stamp in seen.values()):
        _known[path] = files, found
    return found


def _identity(stamp: os.stat_result | None) -> tuple[int, ...]:
    """What differs if a file may have changed: its time of change is the system's own, whatever restored the others."""
    return (stamp.st_dev, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns, stamp.st_ctime_ns) if stamp else ()


def files_of(path: Path) -> list[Path]:
    """The files that an extension consists of, sorted: not what version control, editors and Python leave there, and no
    pipes or devices."""
    return [*stamps(path)]


def stamps(path: Path) -> Stamps:
    """The same with what the system says of each; None of what cannot be looked at."""
    itself = stamp_of(path)
    if itself is None or not stat.S_ISDIR(itself.st_mode):
        return {path: itself}
    return dict(sorted(_below(path)))


def _below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError):
        for entry in [entry for entry in os.scandir(folder) if not is_left_behind(entry.name)]:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(folder / entry.name)
            elif (found := stamp_of(Path(entry.path))) and stat.S_ISREG(found.st_mode):
                yield folder / entry.name, found


def stamp_of(path: Path) -> os.stat_result | None:
    """What the system says of it, if it is there."""
    try:
        return path.stat()
    except OSError:
        return None


def is_left_behind(name: str) -> bool:
    """Whether version control, an editor or Python left something of that name."""
    return name.startswith((".", "#")) or name.endswith(("~", ".pyc", ".tmp")) or name in ("__pycache__", "4913")

"""Where a plugin comes from, and what identifies it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdterm.core.files import regular


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


def digest(path: Path) -> str:
    """Identifies the content of a file, or of every source and data file under a folder."""
    content = hashlib.sha256()
    for file in files_of(path):
        content.update(f"{file.relative_to(path) if file != path else file.name}\0".encode(errors="surrogateescape"))
        try:
            with open(file, "rb", opener=regular) as opened:
                content.update(opened.read())
        except OSError:
            content.update(b"unreadable")  # loading it will say why
    return content.hexdigest()[:16]


def files_of(path: Path) -> list[Path]:
    """The files that an extension consists of, sorted: not what version control, editors and Python leave there, and no
    pipes or devices."""
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = (name for name in folders if not is_left_behind(name))
        here = (Path(folder, name) for name in files if not is_left_behind(name))
        found += [path for path in here if path.is_file()]
    return sorted(found)


def is_left_behind(name: str) -> bool:
    """Whether version control, an editor or Python left something of that name."""
    return name.startswith((".", "#")) or name.endswith(("~", ".pyc", ".tmp")) or name in ("__pycache__", "4913")

"""The files that may be pictures, below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from sdterm.core.files import legible

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif"}


def image_files(folder: Path) -> Iterator[Path]:
    """Those whose names are text, which others cannot be listed by."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(where, name)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".") and legible(path) == path:
                yield Path(path)


def when(file: Path) -> float:
    """It was changed last, in seconds since 1970; 0 if it is gone."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0

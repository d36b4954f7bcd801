"""Hashes of model files, and what else is known of each: computed once, kept for as long as the file is the same.

A1111 has three: the first model hash (8 hex digits, of 64 KB; it collides), the SHA-256 of the whole file (the first 10
digits, 12 for an embedding), and for a LoRA that of what follows the header (12 digits), which an edit of its metadata
leaves alone.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdterm.core.files import regular
from sdterm.core.library.folder_weights import FolderWeights
from sdterm.core.library.scan import ModelFile, Stamp, stamp_of
from sdterm.core.sealed import read_sealed, write_sealed
from sdterm.core.settings.model_kinds import KINDS_BY_ID

OLD_DIGITS = 8
_BLOCK = 2**20  # bytes
_HEADER_LENGTH = 8  # bytes: of the number before a safetensors header

Known = Mapping[str, Any]
"""What is kept of a file: `sha256`, `data` (of what follows the header), `old`, and what its `header` said."""


@dataclass(frozen=True)
class HashCache:
    """A file that keeps what is known of model files, by their paths and stamps."""

    file: Path

    def known(self, path: Path, stamp: Stamp | None = None) -> Known:
        """Of one file as it is now, or as `stamp` says. Raises OSError."""
        return _current(self._entries(), str(path), stamp or stamp_of(path))

    def known_of(self, files: Iterable[ModelFile]) -> list[Known]:
        """The same of many files at once, in their order."""
        entries = self._entries()
        return [_current(entries, file.location, file.stamp) for file in files]

    def remember(self, found: Mapping[tuple[str, Stamp], Known]) -> None:
        """Keep what was found out of files (path, stamp). A cache that cannot be written costs time, nothing else."""
        with _WRITING:  # of two threads the second would write what the first had read
            entries = dict(self._entries())
            for (path, stamp), known in found.items():
                entries[path] = {**_current(entries, path, stamp), **known, "stamp": [*stamp]}
            with contextlib.suppress(OSError):
                write_sealed(self.file, entries)

    def _entries(self) -> Mapping[str, Any]:
        try:
            return _read(self.file, stamp_of(self.file))
        except OSError:
            return {}


_WRITING = threading.Lock()


@lru_cache(maxsize=4)
def _read(file: Path, stamp: Stamp) -> Mapping[str, Any]:
    """Once for each state of the cache: of ten thousand files it has megabytes."""
    entries = read_sealed(file)
    return entries if isinstance(entries, dict) else {}


def _current(entries: Mapping[str, Any], path: str, stamp: Stamp) -> Known:
    entry = entries.get(path)
    return entry if isinstance(entry, dict) and entry.get("stamp") == [*stamp] else {}


def hashes_of(path: Path, *, data: bool = False, on_read: Callable[[int], None] = lambda count: None) -> dict[str, str]:
    """`sha256` of a file, and that of its `data` where it is wanted, in one reading; of a folder, of its weights' names
    and SHA-256. on_read: told of each block how many bytes it has, before the next one is read. Raises OSError,
    ModelFileError."""
    if path.is_dir():
        files = FolderWeights(path).files
        lines = [
            f"{hashes_of(file, on_read=on_read)['sha256']}  {file.relative_to(path).as_posix()}\n" for file in files
        ]
        return {"sha256": hashlib.sha256("".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()}
    whole, rest = hashlib.sha256(), hashlib.sha256()
    with open(path, "rb", opener=regular) as file:
        start, at = _data_starts(path, file.read(_HEADER_LENGTH)), 0
        file.seek(0)
        while block := file.read(_BLOCK):
            whole.update(block)
            if data:
                rest.update(memoryview(block)[max(0, min(start - at, len(block))) :])
            at += len(block)
            on_read(len(block))
    return {"sha256": whole.hexdigest()} | ({"data": rest.hexdigest()} if data else {})


def short_hash(kind: str, known: Known) -> str | None:
    """The hash by which A1111 names a file of that kind, as far as it is known. A LoRA's is what its trainer wrote."""
    digest = known.get("sha256")
    if kind == "lora":
        digest = known.get("header", {}).get("model_hash") or known.get("data")
    return str(digest)[: KINDS_BY_ID[kind].digits] if digest else None


def old_hash_of(path: Path) -> str:
    """A1111's first model hash, of 64 KB from 1 MB on. Raises OSError."""
    with open(path, "rb", opener=regular) as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(0x10000)).hexdigest()[:OLD_DIGITS]


def _data_starts(path: Path, first: bytes) -> int:
    """Where a safetensors file's header ends; 0 in any other file."""
    if path.suffix.lower() != ".safetensors" or len(first) < _HEADER_LENGTH:
        return 0
    return min(_HEADER_LENGTH + int.from_bytes(first, "little"), os.path.getsize(path))

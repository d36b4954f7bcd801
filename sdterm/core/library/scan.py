"""Which model files lie in folders. Nothing is opened."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sdterm.core.files import legible
from sdterm.core.library.folder_weights import INDEX
from sdterm.core.settings.model_kinds import KINDS_BY_ID, ModelKind

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".jxl", ".avif")
_PREVIEWS = tuple(f"{middle}.{end}" for end in ("png", "jpg", "jpeg", "webp", "gif") for middle in (".preview", ""))
_VAE = ".vae."

Stamp = tuple[int, int, int]
"""Size, modification time in nanoseconds, inode. Of a folder that is one model: of all that lies in it, of the newest
file in it, and its own."""


class ModelFile(NamedTuple):
    """A model file on disk (or a folder that is one model), as it was when it was found. A tuple, since it is made ten
    thousand times."""

    kind: str
    location: str
    """Its path as text: to make a `path` of each takes longer than finding them."""
    stamp: Stamp
    below: str = ""
    """Where it lies below its folder; empty if right in it."""
    preview: str | None = None
    """The path of a picture of what it does."""
    notes: str | None = None
    """The path of A1111's user metadata beside it, `NAME.json`."""
    is_folder: bool = False

    @property
    def path(self) -> Path:
        return Path(self.location)

    @property
    def file_name(self) -> str:
        return os.path.basename(self.location)

    @property
    def name(self) -> str:
        """Without its suffix, as text: by this prompts call it."""
        return legible(self.file_name if self.is_folder else os.path.splitext(self.file_name)[0])

    @property
    def relative_name(self) -> str:
        """A1111's name of a checkpoint: with its suffix and the folders above."""
        return legible(f"{self.below}/{self.file_name}" if self.below else self.file_name)

    @property
    def size(self) -> int:
        return self.stamp[0]


def scan(kind: str, places: Iterable[Path]) -> tuple[ModelFile, ...]:
    """The files of a kind in and below folders, folder after folder, each sorted and once; linked folders too, since
    people keep models on another disk."""
    row = KINDS_BY_ID[kind]
    found: dict[str, ModelFile] = {}
    for place in places:
        for file in sorted(_below(row, place), key=lambda file: file.location):
            found.setdefault(file.location, file)
    return tuple(found.values())


def single(kind: str, path: Path) -> ModelFile:
    """A file that was named, whether it is there or not."""
    with contextlib.suppress(OSError):
        return ModelFile(kind, str(path), stamp_of(path), is_folder=path.is_dir())
    return ModelFile(kind, str(path), (0, 0, 0))


def scan_vaes_beside(checkpoints: Iterable[Path]) -> tuple[ModelFile, ...]:
    """`NAME.vae.safetensors` in the folders of checkpoints, where A1111 looks too."""
    return tuple(file for file in scan("vae", checkpoints) if _VAE in file.file_name)


def folders_below(places: Iterable[Path]) -> Iterator[Path]:
    """All folders that a scan looks into: when a file comes or goes, its folder's time changes."""
    for place in places:
        if place.is_dir():
            yield from (Path(folder) for folder, _ in _walk(place))


def _below(kind: ModelKind, place: Path) -> Iterator[ModelFile]:
    if place.is_file():
        yield single(kind.id, place)
        return
    for folder, entries in _walk(place):
        below = os.path.relpath(folder, place)
        below = "" if below == "." else below
        names = {entry.name for entry in entries}
        if INDEX in names and below:
            if kind.id == "checkpoint":
                yield ModelFile(kind.id, folder, stamp_of(Path(folder)), os.path.dirname(below), is_folder=True)
            continue
        pictures = {name for name in names if name.lower().endswith(PICTURES)}
        stems = {os.path.splitext(name)[0] for name in names - pictures} if pictures else {}
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            suffix = suffix.lower()
            if suffix not in kind.suffixes or (kind.id == "checkpoint" and _VAE in entry.name):
                continue
            if suffix in PICTURES and (stem in stems or stem.lower().endswith(".preview")):
                continue  # a picture of the file beside it
            try:
                status = entry.stat()
            except OSError:  # a link to nowhere, or it went away in between
                continue
            stamp = status.st_size, status.st_mtime_ns, status.st_ino
            preview = next((name for end in _PREVIEWS if (name := stem + end) in names), None) if pictures else None
            yield ModelFile(
                kind.id,
                entry.path,
                stamp,
                below,
                os.path.join(folder, preview) if preview else None,
                os.path.join(folder, f"{stem}.json") if f"{stem}.json" in names else None,
            )


def _walk(place: Path) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
    """(folder, its files), each folder once however it is linked. What cannot be read is passed over."""
    seen: set[tuple[int, int]] = set()
    waiting = [str(place)]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            entries = [] if (status.st_dev, status.st_ino) in seen else [*os.scandir(folder)]
        except OSError:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders, files = [], []
        for entry in entries:
            with contextlib.suppress(OSError):  # a link in a circle
                folders += [entry.path] if entry.is_dir() else []
                files += [entry] if entry.is_file() else []
        if not any(file.name == INDEX for file in files) or folder == str(place):
            waiting += folders  # else they are the parts of one model
        yield folder, files


def stamp_of(path: Path) -> Stamp:
    """Raises OSError."""
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime_ns, status.st_ino
    size, newest = 0, os.stat(path / INDEX).st_mtime_ns
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]  # a clone's history is none of the model
        for name in names:
            with contextlib.suppress(OSError):  # a link to nowhere, or it went away in between
                file = os.stat(os.path.join(folder, name))
                size, newest = size + file.st_size, max(newest, file.st_mtime_ns)
    return size, newest, status.st_ino

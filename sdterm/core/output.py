"""Files that appear whole or not at all, and never in place of another."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from errno import EDQUOT, ENOSPC
from itertools import count
from pathlib import Path

from sdterm.core.naming import NameFacts, file_name
from sdterm.events import Event, Failed, Image


def write_atomically(path: Path, content: bytes) -> None:
    """Write or replace a file of ours (settings, caches): whoever reads sees the old or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path.parent, content) as temporary:
        temporary.replace(path)


def write_new(folder: Path, stems: Iterable[str], suffix: str, content: bytes) -> Path:
    """Write a new file under the first of `stems` that is free, and return its path.

    Content is on the disk before the name appears (write, fsync, link), so a crash or a full disk leaves no partial
    file, and two processes at once never take one name. Raises OSError.
    """
    with _temporary(folder, content) as temporary:
        for stem in stems:
            path = folder / f"{stem}{suffix}"
            try:
                _claim(temporary, path)
            except FileExistsError:
                continue
            _sync_folder(folder)
            return path
    raise FileExistsError(f"No free name for another image in {folder}.")


class OutputFolderError(OSError):
    """Images cannot be saved where they should go."""


def ready(folder: Path) -> None:
    """Make the folder for images and make sure a file can be written there. Raises OutputFolderError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(folder, b"\0"):
            pass
    except OSError as error:
        failed = _unwritable(folder, error)
        raise OutputFolderError(error.errno, f"{failed.message} {failed.advice}") from error


def save_images(events: Iterable[Event], folder: Path, pattern: str, facts: NameFacts) -> Iterator[Event]:
    """Pass a run's events through, saving each image on the way. A file that cannot be written ends the run with one
    `failed` event that says why; what was saved before stays."""
    for event in events:
        if not isinstance(event, Image):
            yield event
            continue
        try:
            stems = (file_name(pattern, facts.of(event, number)) for number in _numbers(folder))
            path = write_new(folder, stems, event.suffix, event.data)
        except OSError as error:
            if close := getattr(events, "close", None):
                close()  # stops the engine: there is nowhere to put more
            yield _unwritable(folder, error)
            return
        yield event.model_copy(update={"path": str(path)})


def _unwritable(folder: Path, error: OSError) -> Failed:
    if error.errno in (ENOSPC, EDQUOT):
        return Failed(
            code="disk_full",
            message=f"The disk is full: an image could not be saved in {folder}.",
            advice="Free some space or choose another folder with --out, then generate again with the same seed.",
        )
    return Failed(
        code="output_unwritable",
        message=f"Images cannot be saved in {folder}: {os.strerror(error.errno or 0)}.",
        advice="Choose a folder you may write to with --out.",
    )


def _numbers(folder: Path) -> Iterator[int]:
    """Numbers for new files: one past the highest in the folder, as A1111 counts, then upwards."""
    taken = (name.split("-", 1)[0] for name in os.listdir(folder))
    return count(max((int(n) for n in taken if n.isascii() and n.isdigit() and len(n) < 10), default=-1) + 1)


@contextlib.contextmanager
def _temporary(folder: Path, content: bytes) -> Iterator[Path]:
    """A file with that content, synced to disk, gone at the end unless it was renamed."""
    path = folder / f".sdterm-{secrets.token_hex(8)}.tmp"
    try:
        with open(path, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path) -> None:
    """Give the temporary file its name unless that is taken (FileExistsError)."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: take the name first, then replace our own empty file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot sync folders; the content is safe
    finally:
        os.close(descriptor)

"""Files as they lie on people's disks: what stands where one should be may be none, and its name may be no text.

What is written here appears whole or not at all, and never in place of another.
"""

import contextlib
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from errno import EINVAL
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sdterm.core.locks import lock
from sdterm.messages import Message, message

V = TypeVar("V")

_TEMPORARY = ".sdterm-"
_NEW = 10.0  # seconds
_MODE = 0o644  # less what the user's umask takes away; that others may write is never meant
_NO_TEXT = re.compile("[\ud800-\udfff]")


def legible(value: V) -> V:
    """A name or path, also in lists and dictionaries, as text that can be shown, stored and sent: what is not UTF-8 in
    it is replaced. A thing that is found by its name is found by this one."""
    told: Any = value
    if isinstance(value, Message):
        told = value.mapped(legible)
    elif isinstance(value, str):
        told = _NO_TEXT.sub("\ufffd", value)
    elif isinstance(value, list | tuple):
        told = type(value)(map(legible, value))
    elif isinstance(value, dict):
        told = {legible(key): legible(item) for key, item in value.items()}
    return told  # type: ignore[no-any-return]


def regular(path: str, flags: int) -> int:
    """An opener for `open` that takes regular files only: a pipe or a device, whose reader might wait for ever, is an
    OSError at once."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, message("it is not a regular file"), path)
    return descriptor


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write or replace a file of ours (settings, caches): whoever reads sees the old or the new one. private: nobody
    but its user may read it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path.parent, content) as temporary:
        if private:
            temporary.chmod(0o600)
        temporary.replace(path)


def write_new(
    folder: Path,
    stems: Iterable[str],
    suffix: str,
    content: bytes,
    beside: Mapping[str, bytes] | None = None,
    reserve: Callable[[Path], None] = lambda path: None,
) -> Path:
    """Write a new file under the first of `stems` that is free, and return its path. Files `beside` it (suffix →
    content) have the same stem: all of them appear, or none. `reserve(path)` is called before each try to take a name.

    Content is on the disk before the name appears (write, fsync, link), so a crash or a full disk leaves no partial
    file, and two processes at once never take one name. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        files = {**(beside or {}), suffix: content}  # last comes what the others are beside
        temporary = {end: stack.enter_context(temporary_file(folder, data)) for end, data in files.items()}
        for stem in stems:
            reserve(folder / f"{stem}{suffix}")
            if _claim_all({folder / f"{stem}{end}": temporary[end] for end in files}):
                _sync_folder(folder)
                return folder / f"{stem}{suffix}"
    raise FileExistsError(message("There is no free name for another image in {folder}.", folder=folder))


def move_new(source: Path, target: Path) -> None:
    """Give a file another name on its disk, never in place of another (FileExistsError). Raises OSError."""
    _claim(source, target)
    source.unlink(missing_ok=True)
    _sync_folder(target.parent)


@contextlib.contextmanager
def temporary_file(folder: Path, content: bytes) -> Iterator[Path]:
    """A file with that content, synced to disk, gone at the end unless it was renamed."""
    with growing_file(folder) as (path, file):
        file.write(content)
        sync(file)
        yield path


@contextlib.contextmanager
def growing_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file to write to and read from, gone at the end unless it was renamed. What a process that was killed left
    of one is deleted first."""
    sweep(folder)
    path = folder / f"{_TEMPORARY}{secrets.token_hex(8)}.tmp"
    try:
        with open(path, "x+b", opener=_for_others_to_read) as file:
            with contextlib.suppress(OSError):  # a file system without locks
                lock(file, shared=True, patience=math.inf)
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def sync(file: BinaryIO) -> None:
    """Have what was written on the disk. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Delete temporary files that nobody holds. One that has just been made may not be held yet."""
    for name in os.listdir(folder):
        if not (name.startswith(_TEMPORARY) and name.endswith(".tmp")):
            continue
        with contextlib.suppress(OSError):
            file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if lock(file) and time.time() - os.fstat(file).st_mtime > _NEW:
                    os.unlink(folder / name)
            finally:
                os.close(file)


def _for_others_to_read(path: str, flags: int) -> int:
    return os.open(path, flags, _MODE)


def _claim_all(names: Mapping[Path, Path]) -> bool:
    """Give each temporary file (path → file) its name, or none of them if one is taken."""
    claimed: list[Path] = []
    try:
        for path, temporary in names.items():
            _claim(temporary, path)
            claimed.append(path)
    except OSError as error:
        for path in claimed:
            if names[path].exists():
                path.unlink()
            else:  # it was moved, not linked
                path.replace(names[path])
        if not isinstance(error, FileExistsError):
            raise
        return False
    return True


def _claim(temporary: Path, path: Path) -> None:
    """Give the file this name unless that is taken (FileExistsError)."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: take the name first, then replace our own empty file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
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

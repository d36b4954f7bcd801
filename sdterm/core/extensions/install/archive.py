"""Archives from strangers: looked through as a whole, then unpacked, or refused as a whole.

The filters of Python's `tarfile` and `zipfile` are not relied on: they mend what they find (`..` removed, links turned
into text), and a mended archive is not what its maker made.
"""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from sdterm.core.extensions import ExtensionError
from sdterm.core.text import printable
from sdterm.messages import message

MOST_PACKED = 64 * 1024**2
MOST_UNPACKED = 256 * 1024**2
MOST_ENTRIES = 5000
MOST_RATIO = 100
_ALWAYS_FINE = 1024**2  # bytes: a small file of zeros is no bomb
_MOST_LISTING = 4 * 1024**2  # bytes of a zip's list of entries, which `zipfile` reads before it can be counted
_MOST_NAME, _MOST_PATH = 255, 700  # bytes

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_PACKED_TARS: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class ArchiveError(ExtensionError):
    """A sentence: why an archive is refused."""


@dataclass(frozen=True)
class _Entry:
    name: str
    """As it will lie, without a slash at its end."""
    folder: bool
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or tar file (gzip, bzip2, xz or plain) into the folder `into`, which is made. Nothing is written
    unless the list of entries is clean. Raises ArchiveError."""
    packed = archive.stat().st_size
    if packed > MOST_PACKED:
        raise ArchiveError(message("The archive is larger than {limit}.", limit=_mib(MOST_PACKED)))
    most = min(MOST_UNPACKED, max(MOST_RATIO * packed, _ALWAYS_FINE))
    into.mkdir(parents=True)
    try:
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as opened:
                _write(list(_zip_entries(opened)), into, most)
        else:
            plain = _plain_tar(archive, into.with_name(into.name + ".tar"), most)
            with tarfile.open(plain, "r:") as tar:
                _write(list(_tar_entries(tar)), into, most)
    except ArchiveError:
        raise
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ArchiveError(
            message("The archive is damaged, or not a zip or tar file: {problem}.", problem=error)
        ) from error
    except (OSError, ValueError, NotImplementedError, RuntimeError, OverflowError, RecursionError) as error:
        raise ArchiveError(message("The archive cannot be unpacked: {problem}.", problem=error)) from error


def check_names(entries: Iterable[tuple[str, bool]]) -> None:
    """Whether entries (path, is a folder) can lie side by side on every file system. Raises ArchiveError."""
    there: dict[str, tuple[str, bool]] = {}  # by the form in which two spellings are one file somewhere
    for name, folder in entries:
        check_name(name)
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            whole = depth == len(parts)
            this = "/".join(parts[:depth]), folder or not whole
            known = there.setdefault(_everywhere(this[0]), this)
            if known != this:
                raise ArchiveError(
                    message(
                        "The archive has {one} and {other}, which may be the same file on this disk.",
                        one=_shown(known[0]),
                        other=_shown(this[0]),
                    )
                )
            if known is not this and whole and not folder:
                raise ArchiveError(message("The archive has {name} twice.", name=_shown(name)))


def check_name(name: str) -> None:
    """Whether a path inside an archive stays inside, whatever the system. Raises ArchiveError."""
    parts = name.split("/")
    if any(_unfit(part) for part in parts) or len(name.encode(errors="surrogateescape")) > _MOST_PATH:
        raise ArchiveError(message("The archive has an entry named {name}, which is not allowed.", name=_shown(name)))


def _unfit(part: str) -> bool:
    return (
        part in ("", ".", "..")
        or printable(part, limit=10_000) != part
        or any(character in part for character in '\\:*?"<>|\ufffd')
        or part.endswith((".", " "))
        or _RESERVED.fullmatch(part) is not None
        or len(part.encode(errors="replace")) > _MOST_NAME
    )


def _everywhere(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _zip_entries(opened: zipfile.ZipFile) -> Iterator[_Entry]:
    _count(len(opened.infolist()))
    for info in opened.infolist():
        name, mode = info.orig_filename, info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(
                message("The archive has {name}, which is neither a file nor a folder.", name=_shown(name))
            )
        if info.flag_bits & 0x1:
            raise ArchiveError(message("The archive is encrypted."))
        if info.filename != name:  # it was cut at a NUL, or a separator was replaced
            raise ArchiveError(
                message("The archive has an entry named {name}, which is not allowed.", name=_shown(name))
            )
        folder = name.endswith("/")
        if folder and info.file_size:
            raise ArchiveError(message("The archive has {name}, a folder that holds data.", name=_shown(name)))
        yield _Entry(name.removesuffix("/"), folder, info.file_size, lambda info=info: opened.open(info))  # type: ignore[misc]


def _tar_entries(tar: tarfile.TarFile) -> Iterator[_Entry]:
    for number, info in enumerate(tar, start=1):
        _count(number)
        name = info.name.removeprefix("./")  # `tar czf x.tgz .` writes them so
        if info.name == "." and info.isdir():
            continue
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or info.issparse():
            raise ArchiveError(
                message("The archive has {name}, which is neither a file nor a folder.", name=_shown(name))
            )
        if info.size < 0:
            raise ArchiveError(message("The archive has {name} with a negative size.", name=_shown(name)))
        yield _Entry(name, info.isdir(), info.size, lambda info=info: _opened(tar, info))  # type: ignore[misc]


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file  # it is a regular file
    return file


def _write(entries: list[_Entry], into: Path, most: int) -> None:
    check_names((entry.name, entry.folder) for entry in entries)
    if sum(entry.size for entry in entries) > most:
        raise _bomb(most)
    left = most
    for entry in entries:
        target = into / entry.name
        if entry.folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as source, target.open("xb") as file:
            left -= _copy(source, file, left)  # what a header says is not to be believed


def _copy(source: IO[bytes], target: BinaryIO, most: int) -> int:
    """Copy at most so many bytes; how many there were. Raises ArchiveError if there are more."""
    copied = 0
    while chunk := source.read(min(1 << 16, most - copied + 1)):
        copied += len(chunk)
        if copied > most:
            raise _bomb(most)
        target.write(chunk)
    return copied


def _plain_tar(archive: Path, place: Path, most: int) -> Path:
    """The tar file without its compression, which has no limit of its own."""
    with archive.open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in _PACKED_TARS.items() if start.startswith(magic)), None)
    if opener is None:
        return archive
    padding = 2048 * MOST_ENTRIES  # headers and filling
    with opener(archive) as packed, place.open("xb") as plain:
        _copy(packed, plain, min(most + padding, MOST_UNPACKED + padding))
    return place


def _is_zip(archive: Path) -> bool:
    """Whether it is to be read as a zip file. Raises ArchiveError if its list of entries is too long to be read."""
    with archive.open("rb") as file:
        if not file.read(4).startswith(b"PK"):  # with something before it, it may be two things at once
            return False
        size = file.seek(0, 2)
        file.seek(max(0, size - 65557 - 20))
        tail = file.read()
    if _END_64 in tail:
        raise ArchiveError(message("The archive is a ZIP64 file, which sdterm does not read."))
    for at in (match.start() for match in re.finditer(re.escape(_END), tail)):
        if int.from_bytes(tail[at + 12 : at + 16], "little") > _MOST_LISTING:
            raise ArchiveError(message("The archive has more than {limit} entries.", limit=MOST_ENTRIES))
    return True


def _count(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise ArchiveError(message("The archive has more than {limit} entries.", limit=MOST_ENTRIES))


def _bomb(most: int) -> ArchiveError:
    return ArchiveError(
        message("The archive unpacks to more than {limit}, the limit for an archive of its size.", limit=_mib(most))
    )


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"


def _shown(name: str) -> str:
    return repr(printable(name, limit=80))

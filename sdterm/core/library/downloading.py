"""Fetching a model into its folder: offered first, then fetched into a temporary file that a broken connection leaves
for the next try, checked as a whole, and only then given its name.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from errno import ENOSPC, EXDEV
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.files import legible, move_new, regular, write_atomically
from sdterm.core.library.folder_weights import FolderWeights
from sdterm.core.library.gguf_header import MAGIC
from sdterm.core.library.kinds import kind_by_shapes, kind_of
from sdterm.core.library.safetensors_header import safetensors_header
from sdterm.core.library.sources import (
    Keys,
    Remote,
    SourceError,
    check_status,
    checked_file_name,
    checked_folder_name,
    describe,
    local_path,
)
from sdterm.core.library.tensors import ModelFileError, UnsoundError
from sdterm.core.library.weights import WeightsFile, header_of, is_torch
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.core.text import file_size, printable
from sdterm.core.web import BrokenOffError, WebError, answer, shown
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message, sentences

if TYPE_CHECKING:
    import httpx2

TEMPORARY = Path("models", ".downloads")
"""Where a file lies until it is whole, below the data root."""
SPARE = 64 * 2**20
"""Bytes that a download leaves free on the disk."""
TRIES = 5
"""How often a connection may break, one time after the other without a byte between."""
PAUSE = 1.0
"""Seconds before the next try; twice as long before each one after it."""
_CHUNK = 1 << 20
_KEPT = 30 * 24 * 3600.0  # seconds
_MOST_LOOKED_AT = 32 * 2**20  # bytes of a header that are read before it begins

Tell = Callable[[int], None]


class NoRoomError(SdtermError):
    """The disk has no room for a file."""

    code = "disk_full"


class UnknownKindError(SdtermError):
    """A file does not say what kind of model it is."""

    code = BAD_REQUEST
    field = "kind"


class SpoiltError(WebError):
    """What a server gave is not what it or the user said it would be."""


class StoppedError(SdtermError):
    """Somebody does not want the file any more."""

    code = "cancelled"


@dataclass(frozen=True)
class Wanted:
    """What is to be added. kind: unset, as the file's header says. name: unset, as its server calls it. sha256, size:
    if they are given, only a file that has them."""

    source: str
    kind: str | None = None
    name: str | None = None
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Offer:
    """What would be added: what is known before any of it is fetched.

    kind, folder: unset where only the whole file tells.
    """

    remote: Remote
    name: str
    size: int | None
    sha256: str | None
    licence: str
    kind: str | None
    folder: Path | None
    free: int


@dataclass(frozen=True)
class Added:
    """A file that is there now."""

    path: Path
    kind: str
    sha256: str | None
    """Unset for a folder."""


def look(wanted: Wanted, root: Path, keys: Keys) -> Offer:
    """Find out what a source is. Raises SourceError, UnknownKindError, NoRoomError, WebError, ModelFileError."""
    if wanted.kind is not None and wanted.kind not in KINDS_BY_ID:
        said = message(
            "There is no model kind '{kind}'. The kinds are: {known}.",
            kind=printable(wanted.kind),
            known=", ".join(KINDS_BY_ID),
        )
        raise UnknownKindError(said)
    path = local_path(wanted.source)
    offer = _of_path(path, wanted) if path else _of_remote(wanted, keys)
    if wanted.size is not None and offer.size not in (None, wanted.size):
        raise SourceError(
            message(
                "{name} has changed: it has {now} bytes now, not {before}. Add it again.",
                name=offer.name,
                now=offer.size,
                before=wanted.size,
            )
        )
    if wanted.sha256 and offer.sha256 and wanted.sha256 != offer.sha256:
        raise SourceError(
            message(
                "{name} has a different SHA-256: {found}, not {wanted}.",
                name=offer.name,
                found=offer.sha256,
                wanted=wanted.sha256,
            )
        )
    free = _free(root / TEMPORARY)
    folder = root / KINDS_BY_ID[offer.kind].folders[0] if offer.kind else None
    if folder and os.path.lexists(folder / offer.name):
        raise SourceError(
            message(
                "{name} already exists in {folder}. Give the new file another name with --as.",
                name=offer.name,
                folder=folder,
            )
        )
    begun = _begun(_part(root, offer.remote.url))
    if offer.size and (missing := offer.size - begun + SPARE - free) > 0:
        raise NoRoomError(
            message(
                "{name} needs {size}, but the disk has only {free} free. Free {missing} more.",
                name=offer.name,
                size=file_size(offer.size),
                free=file_size(free),
                missing=file_size(missing),
            )
        )
    return replace(offer, folder=folder, free=free, sha256=wanted.sha256 or offer.sha256)


def fetch(offer: Offer, root: Path, keys: Keys, tell: Tell, stop: threading.Event) -> Added:
    """Fetch what was offered. tell: called with the bytes that are there, again and again; stop: set by others. Raises
    SourceError, UnknownKindError, NoRoomError, WebError, ModelFileError, StoppedError. What was fetched stays for the
    next try, unless it is wrong or not wanted."""
    part = _part(root, offer.remote.url)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with _room_said(offer.name):
            if offer.remote.files:
                added = _fetched_folder(part, offer, root, keys, tell, stop)
            else:
                digest = _fetched(part, offer, keys, tell, stop)
                kind = _checked(part, offer, digest)
                added = Added(_placed(part, root / KINDS_BY_ID[kind].folders[0], offer.name), kind, digest)
    except (ModelFileError, SpoiltError, StoppedError):
        forget(part)
        raise
    except BrokenOffError:
        raise
    except SdtermError:
        _noted(part, wanted=None)  # it does not go on by itself
        raise
    forget(part)
    return added


def forget(part: Path) -> None:
    """Delete what was fetched."""
    for path in (part, part.with_suffix(".json")):
        path.unlink(missing_ok=True)
    shutil.rmtree(_folder(part), ignore_errors=True)


def unfinished(root: Path) -> Iterator[Wanted]:
    """What was begun and goes on. What nobody came back to for long is deleted."""
    for note in sorted((root / TEMPORARY).glob("*.json")):
        if time.time() - note.stat().st_mtime > _KEPT:
            forget(note.with_suffix(".part"))
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            yield Wanted(**json.loads(note.read_text(encoding="utf-8"))["wanted"])


def remember(wanted: Wanted, offer: Offer, root: Path) -> None:
    """Note that this is wanted, so that it goes on after the program has ended. Raises OSError."""
    _noted(_part(root, offer.remote.url), wanted=asdict(wanted))


# --- what it is -------------------------------------------------------------------------------------------------------


def _of_path(path: Path, wanted: Wanted) -> Offer:
    file = WeightsFile(path)
    kind = wanted.kind or kind_of(file)
    if kind is None:
        raise _unknown(path.name)
    name = checked_file_name(wanted.name or legible(path.name))
    return Offer(Remote(str(path), name), name, path.stat().st_size, None, "", kind, None, 0)


def _of_remote(wanted: Wanted, keys: Keys) -> Offer:
    remote = describe(wanted.source, keys)
    if remote.files:
        return _of_folder(remote, wanted)
    with answer(remote.url, token=keys.token(remote.token)) as response:
        size = _announced(response, remote, keys)
        if remote.size and size and remote.size != size:
            raise WebError(
                message(
                    "{url} has {found} bytes, but its hub says {wanted}.",
                    url=shown(remote.url),
                    found=size,
                    wanted=remote.size,
                )
            )
        name = checked_file_name(wanted.name or _disposition(response) or remote.name)
        kind = _kind_ahead(response, name, size)
        kind = wanted.kind or kind or remote.kind
    return Offer(remote, name, size or remote.size, remote.sha256, remote.licence, kind, None, 0)


def _of_folder(remote: Remote, wanted: Wanted) -> Offer:
    if wanted.kind not in (None, remote.kind):
        raise UnknownKindError(
            message("{name} is a diffusers folder, so its kind can only be {kind}.", name=remote.name, kind=remote.kind)
        )
    if wanted.sha256:
        raise SourceError(
            message(
                "{name} is a folder of {number} files, so it has no single SHA-256.",
                name=remote.name,
                number=len(remote.files),
            )
        )
    name = checked_folder_name(wanted.name or remote.name)
    return Offer(remote, name, remote.size, None, remote.licence, remote.kind, None, 0)


def _announced(response: "httpx2.Response", remote: Remote, keys: Keys) -> int | None:
    """How many bytes the whole file has, as the answer says. Raises WebError if it is no file."""
    check_status(response.status_code, remote.url, remote.token, keys)
    if re.match(r"\s*(text/html|application/xhtml)", response.headers.get("content-type", ""), re.IGNORECASE):
        hint = (
            message("It may require a login: put a token into {variable}.", variable=remote.token)
            if remote.token
            else ""
        )
        raise WebError(sentences(message("{url} is a web page, not a model.", url=shown(remote.url)), hint))
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise WebError(
            message("{url} sends the file compressed, although sdterm asked for the plain file.", url=shown(remote.url))
        )
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("content-range", ""))
    said = whole[1] if whole else response.headers.get("content-length", "")
    return int(said) if said.isdecimal() and len(said) < 16 else None


def _disposition(response: "httpx2.Response") -> str | None:
    found = re.search(r'filename="?([^";]+)', response.headers.get("content-disposition", ""))
    return found[1] if found else None


def _kind_ahead(response: "httpx2.Response", name: str, size: int | None) -> str | None:
    """The kind, where the beginning of a file tells it. Raises ModelFileError if it begins like none."""
    chunks, read = response.iter_raw(), b""
    try:
        while len(read) < 32 and (chunk := next(chunks, b"")):
            read += chunk
        needed = 8 + int.from_bytes(read[:8], "little")
        is_other = is_torch(read[:32], Path(name).suffix) or read.startswith(MAGIC)
        if is_other or size is None or needed > _MOST_LOOKED_AT:
            return None
        while len(read) < needed and (chunk := next(chunks, b"")):
            read += chunk
        header = safetensors_header(BytesIO(read[:needed]), size)
    except UnsoundError as error:
        raise ModelFileError(message("{name} {problem}", name=name, problem=error)) from error
    return kind_by_shapes({key: record.shape for key, record in header.tensors.items()})


def _unknown(name: str) -> UnknownKindError:
    kinds = ", ".join(KINDS_BY_ID)
    return UnknownKindError(
        message(
            "The kind of model of {name} is not known. Set it with --kind: {kinds}.", name=printable(name), kinds=kinds
        )
    )


# --- fetching ---------------------------------------------------------------------------------------------------------


class _Part:
    """A file on its way, with the checksum of what is there."""

    def __init__(self, path: Path, offer: Offer, tell: Tell, stop: threading.Event) -> None:
        self._path, self._offer, self._tell, self._stop = path, offer, tell, stop
        self.validator: str | None = _note(path).get("validator")
        self.have = 0

    def __enter__(self) -> "_Part":
        self._file = open(self._path, "a+b", opener=_private)
        self._digest = hashlib.sha256()
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._digest.update(chunk)
        self.have = self._file.tell()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restart(self) -> None:
        """Throw away what is there."""
        self._file.truncate(0)
        self._digest, self.have = hashlib.sha256(), 0

    def expect(self, validator: str | None) -> None:
        """By what the server tells this file from a later one of its name."""
        if validator != self.validator:
            self.validator = validator
            _noted(self._path, validator=validator)

    def add(self, chunk: bytes) -> None:
        """Raises StoppedError, SpoiltError, OSError."""
        if self._stop.is_set():
            raise StoppedError(message("The download of {name} was stopped.", name=self._offer.name))
        if self._offer.size is not None and self.have + len(chunk) > self._offer.size:
            raise SpoiltError(
                message(
                    "{name} is larger than the {size} bytes that its server announced.",
                    name=self._offer.name,
                    size=self._offer.size,
                )
            )
        if self._offer.size is None and _free(self._path.parent) < SPARE:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._file.write(chunk)
        self._digest.update(chunk)
        self.have += len(chunk)
        self._tell(self.have)

    def copy(self, path: Path) -> None:
        """Raises ModelFileError, StoppedError."""
        self.restart()
        try:
            source = open(path, "rb", opener=regular)  # noqa: SIM115 it is closed below
        except OSError as error:
            raise ModelFileError(
                message("{file} cannot be read: {problem}.", file=printable(str(path), 1000), problem=error.strerror)
            ) from error
        with source:
            while chunk := source.read(_CHUNK):
                self.add(chunk)

    def whole(self) -> str:
        """Have it on the disk; its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()


def _fetched(part: Path, offer: Offer, keys: Keys, tell: Tell, stop: threading.Event) -> str:
    """Have the file in `part`. Returns its SHA-256."""
    with _Part(part, offer, tell, stop) as target:
        if offer.remote.url.startswith("/"):
            target.copy(Path(offer.remote.url))
        else:
            _fetch_over(target, offer, keys, stop)
        return target.whole()


def _fetched_folder(part: Path, offer: Offer, root: Path, keys: Keys, tell: Tell, stop: threading.Event) -> Added:
    """File after file; those that are whole stay for the next try, whatever is wrong with one of them."""
    whole, done = _folder(part) / offer.name, 0
    for number, remote in enumerate(offer.remote.files):
        target = whole / remote.name
        if not target.is_file():
            own = _folder(part) / f"{number}.part"
            target.parent.mkdir(parents=True, exist_ok=True)
            one = replace(offer, remote=remote, name=remote.name, size=remote.size)
            try:
                digest = _fetched(own, one, keys, partial(_told_from, tell, done), stop)
                if remote.sha256 and digest != remote.sha256:
                    raise SpoiltError(
                        message(
                            "{name} has the SHA-256 {found}, but should have {wanted}.",
                            name=remote.name,
                            found=digest,
                            wanted=remote.sha256,
                        )
                    )
            except SpoiltError as error:
                forget(own)
                raise WebError(
                    message(
                        "{problem} That file was deleted; the other files of {name} are kept for the next try.",
                        problem=error,
                        name=offer.name,
                    )
                ) from error
            own.rename(target)
            forget(own)
        done += target.stat().st_size
        tell(done)
    weights = FolderWeights(whole)
    weights.shapes()
    weights.check_complete(offer.remote.without)
    kind = str(offer.kind)
    return Added(_placed_folder(whole, root / KINDS_BY_ID[kind].folders[0]), kind, None)


def _told_from(tell: Tell, before: int, have: int) -> None:
    tell(before + have)


def _placed_folder(whole: Path, folder: Path) -> Path:
    """Give it its name, never in place of another. Raises SourceError, OSError."""
    target = folder / whole.name
    if os.path.lexists(target):
        raise SourceError(
            message(
                "{name} already exists in {folder}. Give the new one another name with --as.",
                name=whole.name,
                folder=folder,
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        whole.rename(target)
    except OSError as error:
        if error.errno != EXDEV:
            raise
        near = folder / f".{whole.parent.name}"  # that folder lies on another disk
        try:
            shutil.copytree(whole, near)
            near.rename(target)
        finally:
            shutil.rmtree(near, ignore_errors=True)
    return target


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def _fetch_over(part: _Part, offer: Offer, keys: Keys, stop: threading.Event) -> None:
    """Ask until all is there. Raises WebError, StoppedError, OSError; BrokenOffError once it broke off too often."""
    broken, farthest = 0, part.have
    while True:
        try:
            _fetch_rest(part, offer, keys)
            return
        except BrokenOffError:
            broken = 1 if part.have > farthest else broken + 1
            farthest = max(farthest, part.have)
            if broken >= TRIES:
                raise
            if stop.wait(PAUSE * 2 ** (broken - 1)):
                raise StoppedError(message("The download of {name} was stopped.", name=offer.name)) from None


def _fetch_rest(part: _Part, offer: Offer, keys: Keys) -> None:
    remote, headers = offer.remote, {}
    if part.have and part.validator:
        headers = {"Range": f"bytes={part.have}-", "If-Range": part.validator}
    else:
        part.restart()
    with answer(remote.url, headers, keys.token(remote.token)) as response:
        validator = _validator(response)
        goes_on = response.headers.get("content-range", "").startswith(f"bytes {part.have}-")
        if response.status_code == 416 and part.have == offer.size:
            return  # all was there
        same = goes_on and validator == part.validator
        if response.status_code == 416 or (response.status_code == 206 and not same):
            part.restart()
            raise BrokenOffError(message("{url} has changed since the download began.", url=shown(remote.url)))
        size = _announced(response, remote, keys)
        if offer.size is not None and size not in (None, offer.size):
            raise WebError(
                message(
                    "{url} has changed: it has {now} bytes now, not {before}. Add it again.",
                    url=shown(remote.url),
                    now=size,
                    before=offer.size,
                )
            )
        if response.status_code == 200 and part.have:
            part.restart()
        part.expect(validator)
        for chunk in response.iter_raw():
            part.add(chunk)
    if offer.size is not None and part.have < offer.size:
        raise BrokenOffError(
            message("{url} ended after {have} of {size} bytes.", url=shown(remote.url), have=part.have, size=offer.size)
        )


def _validator(response: "httpx2.Response") -> str | None:
    tag = response.headers.get("etag", "")
    return tag if tag.startswith('"') else response.headers.get("last-modified")


def _checked(part: Path, offer: Offer, digest: str) -> str:
    """The kind of what is there, once it is sound. Raises SpoiltError, ModelFileError, UnknownKindError."""
    if offer.sha256 and digest != offer.sha256:
        raise SpoiltError(
            message(
                "{name} was deleted: its SHA-256 is {found}, but should be {wanted}.",
                name=offer.name,
                found=digest,
                wanted=offer.sha256,
            )
        )
    try:
        with open(part, "rb", opener=regular) as file:
            header = header_of(file, part.stat().st_size, Path(offer.name).suffix)
    except UnsoundError as error:
        raise ModelFileError(message("{name} {problem}", name=offer.name, problem=error)) from error
    kind = offer.kind or kind_by_shapes({key: record.shape for key, record in header.tensors.items()})
    if not kind:
        raise _unknown(offer.name)
    return kind


def _placed(part: Path, folder: Path, name: str) -> Path:
    """Give it its name, never in place of another file. Raises SourceError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    try:
        try:
            move_new(part, target)
        except OSError as error:
            if error.errno != EXDEV:
                raise
            near = folder / f".{part.name}"  # that folder lies on another disk
            try:
                shutil.copyfile(part, near)
                move_new(near, target)
            finally:
                near.unlink(missing_ok=True)
    except FileExistsError as error:
        raise SourceError(
            message(
                "{name} already exists in {folder}. Give the new file another name with --as.", name=name, folder=folder
            )
        ) from error
    return target


@contextlib.contextmanager
def _room_said(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise NoRoomError(message("The disk is full, so {name} was not added. Free some space.", name=name)) from error


# --- where ------------------------------------------------------------------------------------------------------------


def part_of(offer: Offer, root: Path) -> Path:
    """Where what was offered lies until it is whole."""
    return _part(root, offer.remote.url)


def _part(root: Path, url: str) -> Path:
    return root / TEMPORARY / f"{hashlib.sha256(url.encode(errors='surrogateescape')).hexdigest()[:24]}.part"


def _note(part: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
    return {}


def _noted(part: Path, **more: Any) -> None:
    write_atomically(part.with_suffix(".json"), json.dumps(_note(part) | more).encode())


def _folder(part: Path) -> Path:
    """Where the files of a folder lie until all are there."""
    return part.with_suffix(".folder")


def _begun(part: Path) -> int:
    """Bytes that are there."""
    return _size_of(part) + sum(_size_of(path) for path in _folder(part).rglob("*") if path.is_file())


def _size_of(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _free(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free

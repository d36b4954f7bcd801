"""The model files of all kinds as a host lists them, and what tells its clients that others are there now."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from sdterm.api import FieldError, LibraryFile, LibraryKind
from sdterm.core.files import legible
from sdterm.core.library.about import notes_of
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.hashes import Known, short_hash
from sdterm.core.library.scan import ModelFile
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.model_kinds import KINDS_BY_ID, MODEL_KINDS
from sdterm.core.text import printable
from sdterm.events import LibraryChanged
from sdterm.host.log import EventLog
from sdterm.host.threads import in_thread
from sdterm.host.thumbnail import ThumbnailError, thumbnail
from sdterm.host.watch import Watch
from sdterm.messages import message

HINTED, POLLED = 30.0, 3.0
"""Seconds between looks without a hint: where the system gives hints, and where it does not."""
_QUIET = 0.3  # seconds: a file that is copied gives a thousand hints
_REST = 4  # times as long as a look has taken, between two of them

_FILES = TypeAdapter(list[LibraryFile])


def kinds(library: Library) -> list[LibraryKind]:
    """The kinds of model files, with how many there are of each."""
    return [
        LibraryKind(
            id=kind.id,
            label=kind.label,
            tag=kind.tag or None,
            folders=tuple(legible(str(folder)) for folder in library.places(kind.id)),
            files=len(library.files(kind.id)),
        )
        for kind in MODEL_KINDS
    ]


def listed(library: Library, kind: str) -> list[LibraryFile]:
    """The files of a kind. Raises FieldError."""
    files = library.files(_known(kind))
    return [_listed(file, known) for file, known in zip(files, library.known(files), strict=True)]


def listed_json(library: Library, kind: str) -> bytes:
    """The same as JSON, made where it keeps nobody waiting: there may be ten thousand. Raises FieldError."""
    return _FILES.dump_json(listed(library, kind))


def file_of(library: Library, kind: str, name: str) -> ModelFile:
    """A file of a kind by name, path or hash. Raises FieldError."""
    try:
        return library.file(_known(kind), name)
    except UnknownNameError as error:
        raise FieldError("name", str(error)) from error


def without_hash(library: Library, kind: str) -> list[ModelFile]:
    """The files of a kind whose hashes nobody has computed. Raises FieldError."""
    files = library.files(_known(kind))
    known = zip(files, library.known(files), strict=True)
    return [file for file, entry in known if not short_hash(kind, entry) and not file.is_folder]


def preview(library: Library, kind: str, name: str, size: int) -> bytes:
    """The picture beside a file, as a small JPEG. Raises FieldError, ThumbnailError."""
    file = file_of(library, kind, name)
    if not file.preview:
        raise ThumbnailError(message("{name} has no image beside it.", name=file.file_name))
    return thumbnail(Path(file.preview), size)


def _known(kind: str) -> str:
    if kind not in KINDS_BY_ID:
        raise FieldError(
            "kind",
            message(
                "There is no kind of model files named '{kind}': there is {kinds}.",
                kind=printable(kind),
                kinds=", ".join(KINDS_BY_ID),
            ),
        )
    return kind


def _listed(file: ModelFile, known: Known) -> LibraryFile:
    notes, header = notes_of(file), known.get("header", {})
    return LibraryFile(
        kind=file.kind,
        name=file.name,
        path=legible(file.location),
        size=file.size,
        hash=short_hash(file.kind, known),
        alias=header.get("alias"),
        base=notes.base or header.get("base"),
        weight=notes.weight,
        activation=notes.activation,
        negative=notes.negative,
        description=notes.description,
        preview=file.preview is not None,
    )


class LibraryWatch:
    """Tells clients when files of a kind come, go or change, without being asked."""

    def __init__(self, library: Callable[[], Library], log: EventLog) -> None:
        self._library, self._log = library, log
        self._news = asyncio.Event()
        self._seen: dict[str, tuple[ModelFile, ...]] = {}

    async def run(self) -> None:
        """Until cancelled. While no client is there nothing is looked at, but for what was there in the beginning."""
        loop = asyncio.get_running_loop()

        def hint() -> None:
            loop.call_soon_threadsafe(self._news.set)

        watch = await in_thread(partial(Watch, hint))
        hinted = True
        try:
            while True:
                began = loop.time()
                if self._log.watching or not self._seen:
                    hinted = await self._look(watch)
                ended = loop.time()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), HINTED if hinted and self._log.watching else POLLED)
                await asyncio.sleep(max(_QUIET, ended + (ended - began) * _REST - loop.time()))
                self._news.clear()
        finally:
            watch.close()

    async def _look(self, watch: Watch) -> bool:
        """Tell what has changed since the last look. Returns whether the system gives hints of all folders."""
        library = self._library()
        found = await in_thread(lambda: {kind.id: library.files(kind.id) for kind in MODEL_KINDS})
        if changed := tuple(kind for kind in found if self._seen and found[kind] != self._seen[kind]):
            self._log.add(None, LibraryChanged(kinds=changed))
        self._seen = found
        places = {place for kind in MODEL_KINDS for place in library.places(kind.id)}
        return await in_thread(lambda: watch.over(place for place in places if place.is_dir()))

"""Pictures of a host on another machine, as files of this one."""

import re
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath

from sdterm.api import Picture
from sdterm.cli.errors import say
from sdterm.client import AnswerError, Client, RefusedError
from sdterm.core.files import write_new
from sdterm.core.output.saving import ready
from sdterm.core.text import printable
from sdterm.events import AnyPicture, Event
from sdterm.messages import message

_ODD = re.compile(r"[^\w ,()+=.-]|^\.")
_NEWEST, _PAGE = 8, 500  # pictures that are asked for at once


class Fetching:
    """The pictures of one job, brought into a folder of this machine as their events come."""

    def __init__(self, job: int, folder: Path) -> None:
        self._job, self._folder = job, folder
        self._known: dict[str, Picture] = {}

    def brought(self, host: Client, event: Event) -> Event:
        """The same event, with its picture's file in the folder if it is on another machine; without a path if that
        cannot be. Raises HostError if the connection breaks."""
        if not host.is_far or not isinstance(event, AnyPicture) or not event.path:
            return event
        path = None
        try:
            path = str(fetched(host, self._picture(host, event.path), self._folder))
        except (AnswerError, RefusedError, OSError) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else error
            where = printable(event.path, 1000)
            say(message("The image stays on the other machine, as {path}: {why}", path=where, why=why))
        return event.model_copy(update={"path": path})

    def _picture(self, host: Client, path: str) -> Picture:
        if path not in self._known:
            for picture in pictures_of(host, self._job):
                self._known[picture.path] = picture
                if picture.path == path:
                    break
            else:
                raise FileNotFoundError(message("it is not in the gallery there."))
        return self._known[path]


def pictures_of(host: Client, job: int) -> Iterator[Picture]:
    """All pictures of a job, the newest first."""
    page = host.pictures(job=job, limit=_NEWEST)
    yield from page.pictures
    while page.next:
        page = host.pictures(job=job, limit=_PAGE, cursor=page.next)
        yield from page.pictures


def fetched(host: Client, picture: Picture, folder: Path) -> Path:
    """A picture's file here, under the name that it has there, or that with a number. One that is here already is not
    written again. Raises HostError, RefusedError, OSError."""
    data = host.file(picture.id)
    name = PurePosixPath(_ODD.sub("_", PurePosixPath(picture.path).name) or "picture.png")
    stems = chain([name.stem], (f"{name.stem}-{number}" for number in count(2)))
    for stem in stems:
        there = folder / f"{stem}{name.suffix}"
        if not there.exists():
            break
        if there.is_file() and there.stat().st_size == len(data) and there.read_bytes() == data:
            return there
    ready(folder)
    return write_new(folder, chain([stem], stems), name.suffix, data)

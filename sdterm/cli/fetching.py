"""Pictures of a host on another machine, as files of this one."""

import re
from itertools import chain, count
from pathlib import Path, PurePosixPath

from sdterm.api import Picture
from sdterm.client import Client
from sdterm.core.files import write_new
from sdterm.core.output.saving import ready
from sdterm.events import AnyPicture, Event

_ODD = re.compile(r"[^\w ,()+=.-]|^\.")
_MOST = 500  # pictures of one job


def brought(host: Client, job: int, event: Event, folder: Path) -> Event:
    """The same event, with its picture's file in this folder if it is on another machine. Raises HostError,
    RefusedError, OSError."""
    if not host.is_far or not isinstance(event, AnyPicture) or not event.path:
        return event
    known = host.pictures(job=job, limit=_MOST).pictures
    picture = next((one for one in known if one.path == event.path), None)
    if picture:
        event = event.model_copy(update={"path": str(fetched(host, picture, folder))})
    return event


def fetched(host: Client, picture: Picture, folder: Path) -> Path:
    """A picture's file here, under the name that it has there. Raises HostError, RefusedError, OSError."""
    data = host.file(picture.id)
    name = PurePosixPath(_ODD.sub("_", PurePosixPath(picture.path).name) or "picture.png")
    there = folder / name
    if there.is_file() and there.read_bytes() == data:
        return there
    ready(folder)
    return write_new(folder, chain([name.stem], (f"{name.stem}-{number}" for number in count(2))), name.suffix, data)

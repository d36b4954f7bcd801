"""What the workstation's parts want of the host: messages that the application carries out.

`await self.ask(calls.pictures(limit=10))` in a screen or widget posts one and waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from textual.message import Message

if TYPE_CHECKING:
    from sdterm.api import (
        Download,
        DownloadOffer,
        DownloadRequest,
        Extension,
        Hashing,
        Health,
        JobDetails,
        JobPage,
        JobView,
        LibraryFile,
        Model,
        Networks,
        Picture,
        PicturePage,
        PromptReading,
        Queue,
        Retry,
        State,
        Style,
        Submission,
        TrashedPicture,
        Words,
        WorkerView,
    )
    from sdterm.client import Client
    from sdterm.core.extensions.catalogue import Catalogue

T = TypeVar("T")


class HostCall(Message, Generic[T]):
    """Something that is wanted of the host. quiet: whether nobody is told if that fails."""

    def __init__(self, carry_out: Callable[[Client], T], *, quiet: bool = False) -> None:
        super().__init__()
        self.carry_out, self.quiet = carry_out, quiet
        self.answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        """What the host said; None if it cannot be asked or refused."""


# --- what there is ----------------------------------------------------------------------------------------------------


def pictures(
    query: str = "", *, limit: int, cursor: str | None = None, job: int | None = None, order: str | None = None
) -> HostCall[PicturePage]:
    return HostCall(lambda host: host.pictures(query, limit=limit, cursor=cursor, job=job, order=order))


def file(picture: int) -> HostCall[bytes]:
    return HostCall(lambda host: host.file(picture))


def input(digest: str) -> HostCall[bytes]:
    return HostCall(lambda host: host.input(digest))


def thumbnail(picture: int, size: int) -> HostCall[bytes]:
    return HostCall(lambda host: host.thumbnail(picture, size))


def jobs(*states: State, limit: int = 50) -> HostCall[JobPage]:
    return HostCall(lambda host: host.jobs(states, limit))


def job(number: int) -> HostCall[JobDetails]:
    return HostCall(lambda host: host.job(number))


def health() -> HostCall[Health]:
    return HostCall(lambda host: host.health(), quiet=True)


def models() -> HostCall[list[Model]]:
    return HostCall(lambda host: host.models())


def library_files(kind: str) -> HostCall[list[LibraryFile]]:
    return HostCall(lambda host: host.library_files(kind))


def library_preview(kind: str, name: str) -> HostCall[bytes]:
    return HostCall(lambda host: host.library_preview(kind, name), quiet=True)


def styles() -> HostCall[list[Style]]:
    return HostCall(lambda host: host.styles())


def networks() -> HostCall[Networks]:
    return HostCall(lambda host: host.networks(), quiet=True)


def extensions() -> HostCall[list[Extension]]:
    return HostCall(lambda host: host.extensions())


def catalogue() -> HostCall[Catalogue]:
    return HostCall(lambda host: host.catalogue())


def reading(words: Words) -> HostCall[PromptReading]:
    return HostCall(lambda host: host.read_prompt(words), quiet=True)


# --- what is to be done -----------------------------------------------------------------------------------------------


def submit(submission: Submission) -> HostCall[JobView]:
    return HostCall(lambda host: host.submit(submission))


def put_input(data: bytes) -> HostCall[str]:
    return HostCall(lambda host: host.put_input(data))


def delete_picture(picture: int) -> HostCall[bool]:
    def delete(host: Client) -> bool:
        host.delete_picture(picture)
        return True

    return HostCall(delete)


def restore_picture(picture: int) -> HostCall[Picture]:
    return HostCall(lambda host: host.restore_picture(picture))


def trash() -> HostCall[list[TrashedPicture]]:
    return HostCall(lambda host: host.trash())


def empty_trash() -> HostCall[int]:
    return HostCall(lambda host: host.empty_trash())


def cancel(job: int) -> HostCall[JobView]:
    return HostCall(lambda host: host.cancel(job))


def pause(job: int) -> HostCall[JobView]:
    return HostCall(lambda host: host.pause(job))


def resume(job: int) -> HostCall[JobView]:
    return HostCall(lambda host: host.resume(job))


def retry(job: int, how: Retry | None = None) -> HostCall[JobView]:
    return HostCall(lambda host: host.retry(job, how))


def move(job: int, before: int | None) -> HostCall[JobView]:
    return HostCall(lambda host: host.move(job, before))


def pin(job: int, device: str | None) -> HostCall[JobView]:
    return HostCall(lambda host: host.pin(job, device))


def drain(device: str, drained: bool) -> HostCall[WorkerView]:
    return HostCall(lambda host: host.drain(device) if drained else host.resume_device(device))


def pause_queue() -> HostCall[Queue]:
    return HostCall(lambda host: host.pause_queue())


def resume_queue() -> HostCall[Queue]:
    return HostCall(lambda host: host.resume_queue())


def load_model(name: str) -> HostCall[None]:
    return HostCall(lambda host: host.load_model(name))


def look_at_download(request: DownloadRequest) -> HostCall[DownloadOffer]:
    return HostCall(lambda host: host.look_at_download(request))


def add_model(request: DownloadRequest) -> HostCall[Download]:
    return HostCall(lambda host: host.add_model(request))


def downloads() -> HostCall[list[Download]]:
    return HostCall(lambda host: host.downloads())


def cancel_download(download: int) -> HostCall[Download]:
    return HostCall(lambda host: host.cancel_download(download))


def unload_models() -> HostCall[None]:
    return HostCall(lambda host: host.unload_models())


def hash_model(name: str | None, kind: str = "checkpoint") -> HostCall[None]:
    return HostCall(lambda host: host.hash_model(name, kind))


def hashing(what: Literal["pause", "resume", "stop"] | None = None) -> HostCall[Hashing]:
    return HostCall(lambda host: host.hashing(what))

"""How an answer reaches whoever asked for it: now or later, once or again, whoever hangs up or dies meanwhile.

The answer to a request with an `Idempotency-Key`, or to one that does not wait, is kept and can be asked for again,
also from the next host. Any other is made for the client that waits for it, and gone with it.
"""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from sdterm.api import ENDED, JobDetails, Submission
from sdterm.core.output.saving import Saving
from sdterm.host.queue import WrongStateError
from sdterm.host.sdapi import kept
from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.jobs import ended, pictures_of
from sdterm.host.sdapi.kept import BegunError, KeptRequests
from sdterm.host.sdapi.replies import Reply, answered
from sdterm.host.sdapi.schema import documented
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import GenerationRequest

KEPT = 3600.0
"""Seconds that an answer can be asked for again, once its job has ended."""
JOB_HEADER = "X-Job-Id"
_SWEEP_EVERY = 600.0  # seconds
_HUNG_UP = 499  # a status that nobody sees
_log = logging.getLogger(__name__)

_LATER: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "With `wait=false`: the job is queued, and `Location` is where its answer will be.",
        "headers": {
            JOB_HEADER: {"description": "The job's number.", "schema": {"type": "integer"}},
            "Location": {"description": "Where its answer will be.", "schema": {"type": "string"}},
        },
    }
}


def deliverable(answer: str = "", asks: str = "") -> dict[str, Any]:
    """`documented`, of a route whose answer may come later."""
    said = documented(answer, asks)
    return said | {"responses": said["responses"] | _LATER}


@dataclass(frozen=True)
class Delivery:
    """How a client wants its answer."""

    key: str | None = None
    wait: bool = True
    cancel: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the answer can be asked for again."""
        return self.key is not None or not self.wait


def delivery(
    wait: Annotated[
        bool,
        Query(description="false: answer 202 once the job is queued. `GET /sdapi/v1/jobs/{job}` will have its answer."),
    ] = True,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=255,
            description="A text of your choice, new for each new request. A request that comes again with its key is "
            "the same job, also after a crash: it gets that job's answer, until an hour after the job ended.",
        ),
    ] = None,
    x_cancel_on_disconnect: Annotated[
        bool, Header(description="1: cancel the job if this client hangs up before the answer.")
    ] = False,
) -> Delivery:
    """What the query and the headers say."""
    return Delivery(idempotency_key or None, wait, x_cancel_on_disconnect)


How = Annotated[Delivery, Depends(delivery)]


@dataclass(frozen=True)
class Order:
    """A job to queue, and what its answer will be made of."""

    request: GenerationRequest
    reply: Reply
    submitted: Callable[[int], None] | None = None
    """Told the job's number, once it is in the queue."""
    save: bool = False
    """Whether its images are saved where the settings say, not only sent."""


class Deliveries:
    """clock: seconds since 1970; it may jump, and decides only when an old answer goes."""

    def __init__(self, services: HostServices, clock: Callable[[], float] = time.time) -> None:
        self._services, self._clock = services, clock
        self._requests = KeptRequests(services.database, services.run_folder.answers)
        self._coming: dict[int, asyncio.Task[bytes]] = {}
        self._waiting: Counter[int] = Counter()

    async def deliver(
        self, request: Request, how: Delivery, order: Callable[[Any], Awaitable[Order | dict[str, Any]]]
    ) -> Response:
        """Queue what a request orders, unless its key was here before, and answer as its client wants. order: of a
        body, or the answer itself where nothing is to be drawn. Raises UsedKeyError, JobFailedError, and whatever
        `body`, `order` and queueing raise."""
        content = await body(request)
        asked = await in_thread(partial(kept.fingerprint, request.url.path, content)) if how.is_kept else ""
        job = self._requests.job(how.key, asked) if how.key else None
        if job is None:
            ordered = await order(content)
            if isinstance(ordered, dict):
                return JSONResponse(ordered)
            job = await self._begin(how, asked, ordered)
        return await (self._wait(request, job, how.cancel) if how.wait else self.look(request, job))

    async def look(self, request: Request, job: int) -> Response:
        """The answer of a job, if it is kept; until it is there, 202 and the job's state. Raises HTTPException,
        JobFailedError."""
        if not self._requests.folder_of(job):
            raise HTTPException(404, f"No answer of a job {job} is kept.")
        view = self._services.job(job)
        if view.state in ENDED:
            return await self._wait(request, job)
        request.state.job = job
        state = {"job": job, "state": view.state, "images": view.images, "done": view.done}
        return JSONResponse(state, 202, {"Location": f"/sdapi/v1/jobs/{job}"})

    async def look_after(self) -> None:
        """Make, for ever, answers to what earlier hosts were asked, and remove old ones."""
        for job, folder in [*self._requests.all()]:
            is_made = await in_thread(partial(kept.has_answer, folder))
            if not is_made and job not in self._coming:  # somebody may have asked again meanwhile
                self._make(job, folder)
        while True:
            try:
                await self.sweep()
            except (OSError, sqlite3.Error) as error:
                _log.warning("old answers: %s", error)
            await asyncio.sleep(_SWEEP_EVERY)

    async def sweep(self) -> None:
        """Remove the answers of jobs that ended more than an hour ago, unless somebody waits for one."""
        before, stay = self._clock() - KEPT, set()
        for job, folder in [*self._requests.all()]:
            view = self._services.job(job)
            if view.state not in ENDED or (view.ended or 0) >= before or self._waiting[job]:
                stay.add(folder)
                continue
            with self._services.database.transaction():
                self._forget_pictures(self._services.details(job), folder)
                self._requests.remove(job)
        await in_thread(partial(kept.remove_others, self._requests.folder, stay, before))

    async def _begin(self, how: Delivery, asked: str, order: Order) -> int:
        """Queue a job, and see to its answer. Raises as `HostServices.submit` does."""
        run_folder = self._services.run_folder
        folder = (run_folder.answers if how.is_kept else run_folder.unsaved) / uuid.uuid4().hex
        saving = self._services.saving() if order.save else Saving(folder)
        note = partial(self._requests.add, how.key, asked, folder) if how.is_kept else None
        try:
            if how.is_kept:
                await in_thread(partial(kept.write_reply, folder, order.reply))
            job = await self._services.submit(Submission(request=order.request, saving=saving), note)
        except BaseException as error:
            await in_thread(partial(shutil.rmtree, folder, ignore_errors=True))
            if isinstance(error, BegunError):
                return error.job
            raise
        if order.submitted:
            order.submitted(job)
        self._make(job, folder, None if how.is_kept else order.reply)
        return job

    async def _wait(self, request: Request, job: int, cancel: bool = False) -> Response:
        """The answer, once it is there. cancel: the job too, if the last who waits for it hangs up."""
        request.state.job = job
        folder = self._requests.folder_of(job)
        coming = self._coming[job] if job in self._coming or not folder else self._make(job, folder)
        self._waiting[job] += 1
        try:
            if cancel and await _hung_up(request, before=coming):
                if self._waiting[job] == 1:
                    with contextlib.suppress(WrongStateError):  # it has just ended
                        await self._services.cancel(job)
                return Response(status_code=_HUNG_UP)
            return Response(await asyncio.shield(coming), media_type="application/json")
        finally:
            self._waiting[job] -= 1
            self._waiting += Counter()  # without those that nobody waits for

    def _make(self, job: int, folder: Path, reply: Reply | None = None) -> asyncio.Task[bytes]:
        """Begin to make an answer. reply: of one that is not kept; the folder has the others'."""
        work = self._made_once(job, folder, reply) if reply else self._made_and_kept(job, folder)
        coming = self._coming[job] = asyncio.create_task(work)
        coming.add_done_callback(lambda task: self._end(job, task))
        return coming

    def _end(self, job: int, task: "asyncio.Task[bytes]") -> None:
        self._coming.pop(job, None)
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it

    async def _made_once(self, job: int, folder: Path, reply: Reply) -> bytes:
        """Raises JobFailedError."""
        try:
            return await self._made(await ended(self._services, job), reply)
        finally:
            self._services.pictures.forget_below(folder)
            await in_thread(partial(shutil.rmtree, folder, ignore_errors=True))

    async def _made_and_kept(self, job: int, folder: Path) -> bytes:
        """Raises JobFailedError."""
        details = await ended(self._services, job)
        if (answer := await in_thread(partial(kept.read_answer, folder))) is None:
            answer = await self._made(details, await in_thread(partial(kept.read_reply, folder)))
            try:
                await in_thread(partial(kept.write_answer, folder, answer))
            except OSError as error:  # it is made anew for whoever asks again
                _log.warning("the answer of job %d cannot be kept: %s", job, error)
                return answer
        self._forget_pictures(details, folder)
        await in_thread(partial(kept.remove_all_but_answer, folder))
        return answer

    async def _made(self, details: JobDetails, reply: Reply) -> bytes:
        pictures, described = await pictures_of(self._services, details.id), self._services.log.described(details.id)
        return await in_thread(partial(answered, reply, details, pictures, described))

    def _forget_pictures(self, details: JobDetails, folder: Path) -> None:
        if details.saving.folder == folder:  # they are in the answer alone
            self._services.pictures.forget(details.id)


async def _hung_up(request: Request, before: asyncio.Future[bytes]) -> bool:
    """Whether a client hangs up before something has come to its end."""

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    listening = asyncio.create_task(hang_up())
    try:
        await asyncio.wait((before, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        listening.cancel()
    return not before.done()

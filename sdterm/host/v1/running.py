"""The host itself: its health, devices, queue and events, and its end."""

from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from sdterm.api import (
    HEARTBEAT,
    DeviceName,
    Health,
    Queue,
    WorkerView,
)
from sdterm.host.access.guests import Caller, Guest
from sdterm.host.services import HostServices


def routes(services: HostServices, stop: Callable[[], None]) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health(caller: Caller) -> Health:
        """The host, its processes and its queue."""
        return services.health(secrets=caller is None)

    @router.post("/devices/{device}/{what}")
    async def set_device(device: DeviceName, what: Literal["drain", "resume"]) -> WorkerView:
        """Drain: the device finishes its job, takes no new one, and its memory becomes free."""
        return services.dispatcher.drain(device, what == "drain")

    @router.get("/queue")
    async def queue() -> Queue:
        """Whether the queue is paused, and how many jobs there are of each state."""
        return services.jobs.queue()

    @router.post("/queue/{what}")
    async def set_queue(what: Literal["pause", "resume"]) -> Queue:
        """Pause: the running jobs are finished, no new one starts."""
        services.jobs.pause_queue(what == "pause")
        services.dispatcher.wake()
        return services.jobs.queue()

    @router.get("/events", response_class=StreamingResponse)
    async def events(
        caller: Caller,
        after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
        job: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        previews: bool = False,
    ) -> StreamingResponse:
        """What happens, as server-sent events, from the event after that number on (unset: from now)."""
        return StreamingResponse(_followed(services, caller, after, job, previews), media_type="text/event-stream")

    @router.post("/stop", status_code=202)
    async def stop_host() -> None:
        """Stop the host. Running jobs continue from their tapes when a host starts again."""
        stop()

    return router


def _followed(
    services: HostServices, caller: Guest | None, after: int | None, job: int | None, previews: bool
) -> AsyncGenerator[bytes, None]:
    if caller is None:
        return services.log.follow(after, job, previews)
    return caller.while_valid(services.log.follow(after, job, previews, keepalive=HEARTBEAT))

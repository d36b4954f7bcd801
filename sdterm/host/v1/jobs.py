"""Jobs: submit, list, pause, continue, retry, order."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from sdterm.api import (
    Identifier,
    JobDetails,
    JobPage,
    JobView,
    Move,
    Pin,
    Resumption,
    Retry,
    State,
    Stop,
    Submission,
)
from sdterm.host.access.guests import Caller
from sdterm.host.access.outputs import check_saving
from sdterm.host.services import HostServices
from sdterm.host.v1.routing import Cursor, Limit


def routes(services: HostServices) -> APIRouter:
    router = APIRouter()

    @router.post("/jobs", status_code=201)
    async def submit(submission: Submission, caller: Caller) -> JobView:
        """Queue a job. Names are looked up and the folder is tried first."""
        if caller:
            await services.threads.run(partial(check_saving, submission.saving, services.saving()))
        return services.job(await services.submit(submission))

    @router.get("/jobs")
    async def jobs(
        state: Annotated[list[State], Query(max_length=10)] = [],  # noqa: B006 FastAPI copies it
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> JobPage:
        """Jobs, the newest first; `state=queued` alone: in the order of the queue."""
        return services.page(state, limit, cursor)

    @router.get("/jobs/{job}")
    async def job(job: Identifier) -> JobDetails:
        """A job with its request and plan."""
        return services.details(job)

    @router.post("/jobs/{job}/cancel")
    async def cancel(job: Identifier) -> JobView:
        """Stop a job permanently; finished images stay."""
        await services.cancel(job)
        return services.job(job)

    @router.post("/jobs/{job}/pause")
    async def pause(job: Identifier, how: Stop | None = None) -> JobView:
        """Stop a job so that it can continue later: now, or when each image is at a step."""
        if services.jobs.pause(job, how.at_step if how else None, how.pass_no if how else 0):
            await services.dispatcher.stop_job(job)
        return services.job(job)

    @router.post("/jobs/{job}/resume")
    async def resume(job: Identifier, how: Resumption | None = None) -> JobView:
        """Continue a paused job, or some of its images."""
        services.jobs.resume(job, how or Resumption())
        services.dispatcher.wake()
        return services.job(job)

    @router.post("/jobs/{job}/retry")
    async def retry(job: Identifier, how: Retry | None = None) -> JobView:
        """Try a failed job again, from where it was; `how` may change the way it is computed, not its images."""
        await services.retry(job, how or Retry())
        services.dispatcher.wake()
        return services.job(job)

    @router.post("/jobs/{job}/move")
    async def move(job: Identifier, where: Move) -> JobView:
        """Put a queued job elsewhere in the queue."""
        services.jobs.move(job, where.before)
        return services.job(job)

    @router.post("/jobs/{job}/pin")
    async def pin(job: Identifier, where: Pin | None = None) -> JobView:
        """Generate a job on one device alone, or on any."""
        device = where.device if where else None
        services.dispatcher.check_device(device)
        services.jobs.pin(job, device)
        services.dispatcher.wake()
        return services.job(job)

    return router

"""A job of this API, from its request to its end."""

import contextlib
import shutil
import uuid
from functools import partial
from pathlib import Path

from sdterm.api import ENDED, JobDetails, Picture, Submission
from sdterm.core.output.saving import Saving
from sdterm.errors import SdtermError
from sdterm.host.services import HostServices
from sdterm.host.threads import in_thread
from sdterm.request import GenerationRequest

_PAGE = 500  # pictures


class JobFailedError(SdtermError, RuntimeError):
    """A job came to another end than its images."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def done(
    services: HostServices, request: GenerationRequest, *, keep: bool = False
) -> tuple[JobDetails, list[tuple[Picture, bytes]]]:
    """Queue the job and wait for its end: its pictures, with their files. Images that are not to be kept lie in the run
    folder till then."""
    spool = services.run_folder.unsaved / uuid.uuid4().hex
    saving = services.saving() if keep else Saving(spool)
    submission = Submission(request=request, saving=saving)
    job = await services.submit(submission)
    try:
        details = await ended(services, job)
        kept = [each for each in await _pictures(services, job) if each.kind != "before hires"]  # saved, not answered
        found = sorted(kept, key=_as_a1111)
        return details, [(picture, await in_thread(Path(picture.path).read_bytes)) for picture in found]
    finally:
        if not keep:
            services.pictures.forget(job)
            await in_thread(partial(shutil.rmtree, spool, ignore_errors=True))


def _as_a1111(picture: Picture) -> tuple[bool, int, bool, int]:
    """The grid first, then each image with what comes with it."""
    return picture.kind != "grid", picture.number, not picture.is_image, picture.id


async def _pictures(services: HostServices, job: int) -> list[Picture]:
    """All that a job has saved."""
    page = await services.pictures.page("", _PAGE, None, job)
    found = [*page.pictures]
    while page.next:
        page = await services.pictures.page("", _PAGE, page.next, job)
        found += page.pictures
    return found


async def ended(services: HostServices, job: int) -> JobDetails:
    """The job, once it is done or cancelled. Raises JobFailedError if it fails, or if the host ends before it does."""
    async with contextlib.aclosing(services.log.follow(None, job, False)) as events:
        async for _ in events:
            details = services.details(job)
            if details.state == "failed" and details.reason:
                said = f"{details.reason.message} {details.reason.advice or ''}"
                raise JobFailedError(details.reason.code, said.strip())
            if details.state in ENDED:
                return details
    raise JobFailedError("host_ended", f"The host ended before job {job} did. Send the request again once it is back.")

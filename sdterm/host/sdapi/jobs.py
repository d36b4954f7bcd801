"""A job of this API: its end, and what came of it."""

import contextlib

from sdterm.api import ENDED, JobDetails, Picture
from sdterm.errors import SdtermError
from sdterm.host.services import HostServices

_PAGE = 500  # pictures


class JobFailedError(SdtermError, RuntimeError):
    """A job came to another end than its images."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def pictures_of(services: HostServices, job: int) -> list[Picture]:
    """What a job has saved, as A1111 answers it: the grid first, then each image with what comes with it. The picture
    before hires fix is saved, and not answered."""
    page = await services.pictures.page("", _PAGE, None, job)
    found = [*page.pictures]
    while page.next:
        page = await services.pictures.page("", _PAGE, page.next, job)
        found += page.pictures
    return sorted((each for each in found if each.kind != "before hires"), key=_as_a1111)


def _as_a1111(picture: Picture) -> tuple[bool, int, bool, int]:
    return picture.kind != "grid", picture.number, not picture.is_image, picture.id


async def ended(services: HostServices, job: int) -> JobDetails:
    """The job, once it is done or cancelled. Raises JobFailedError if it fails, or if the host ends before it does."""
    async with contextlib.aclosing(services.log.follow(None, job, False)) as events:
        async for _ in events:
            view = services.job(job)
            if view.state == "failed" and view.reason:
                raise JobFailedError(view.reason.code, f"{view.reason.message} {view.reason.advice or ''}".strip())
            if view.state in ENDED:
                return services.details(job)
    raise JobFailedError("host_ended", f"The host ended before job {job} did. Send the request again once it is back.")

"""A1111's one job at a time, as its clients watch it: which of the host's jobs that is, and how far it is."""

import base64
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from sdterm.api import ENDED, JobView, Progress
from sdterm.host.queue import WrongStateError
from sdterm.host.services import HostServices
from sdterm.request import GenerationRequest

_REMEMBERED = 1000
"""Tasks whose names are known."""
_BEGUN = 0.01
"""What progress starts at."""


@dataclass(frozen=True)
class Now:
    """What A1111's progress says. job: the one that is drawn."""

    job: int | None
    progress: float
    eta: float
    state: Mapping[str, Any]


class Tasks:
    """The names of tasks, as clients give them or are told them, and what they asked of them."""

    def __init__(self, services: HostServices) -> None:
        self._services = services
        self._jobs: dict[str, int] = {}
        self._interrupted: set[int] = set()
        self._skipping: dict[int, int] = {}  # job → the batch that is skipped
        self._shown: tuple[bytes, str] = (b"", "")  # the newest preview, and the PNG made of it
        self._last: tuple[int, dict[str, Any]] | None = None
        self._known: tuple[int, GenerationRequest, int] | None = None

    def add(self, job: int, name: str | None = None) -> None:
        """A job was submitted. name: what its client calls it."""
        self._jobs[name or f"task({job})"] = job
        for old in [*self._jobs][:-_REMEMBERED]:
            del self._jobs[old]

    def job(self, name: str) -> JobView | None:
        """The job of a task."""
        job = self._jobs.get(name)
        return self._services.job(job) if job else None

    def pending(self) -> list[str]:
        """Tasks that have not ended, in the queue's order."""
        queued = self._services.page(["queued"], 500, None).jobs
        names = {job: name for name, job in self._jobs.items()}
        return [names.get(job, f"task({job})") for job in (*self.running(), *(job.id for job in queued))]

    def running(self) -> list[int]:
        """The jobs that are drawn now, the one that began first first."""
        jobs = self._services.page(["running"], 50, None).jobs
        return sorted((job.id for job in jobs), key=self._services.jobs.begun)

    def progress(self) -> Now:
        """How far the job is that is drawn, or what is left to say of the last one."""
        running = self.running()
        if not running:
            return Now(None, 0.0, 0.0, self._idle())
        state = self._state(running[0], self._services.dispatcher.progress(running[0]))
        done = fraction(state)
        elapsed = max(0.0, time.time() - self._services.jobs.begun(running[0]))
        return Now(running[0], done, elapsed / done - elapsed, state)

    def preview(self, job: int) -> str | None:
        """The newest picture of a job on its way, as a PNG in base64."""
        data = self._services.dispatcher.preview(job)
        if data and data != self._shown[0]:
            self._shown = data, _png(data)
        return self._shown[1] if data else None

    async def interrupt(self) -> None:
        """Have what is drawn end with the picture as it stands. Half of a larger picture is none: what draws nothing is
        cancelled, and keeps what is done of it."""
        for job in self.running():
            self._interrupted.add(job)
            request, _ = self._asked(job)
            if request.upscale_images or request.interrogate_images:
                with contextlib.suppress(WrongStateError):  # it has just ended
                    await self._services.cancel(job)
            else:
                await self._services.dispatcher.cut_short(job, rest=True)

    async def skip(self) -> None:
        """Have the batch that is drawn end as it stands, and the next one begin."""
        for job in self.running():
            progress = self._services.dispatcher.progress(job)
            self._skipping[job] = progress.batch if progress else 0
            await self._services.dispatcher.cut_short(job, rest=False)

    def _state(self, job: int, progress: Progress | None) -> dict[str, Any]:
        request, images = self._asked(job)
        at = progress or Progress(steps=request.steps)
        passes, batches = max(at.passes, 2 if request.hires else 1), max(at.batches, request.batch_count)
        count, number = batches * passes, at.batch * passes + at.pass_no
        name = "scripts_img2img" if request.init_images else "scripts_txt2img"
        if batches > 1 and progress:
            name = f"Batch {at.batch + 1} out of {batches}"
        if request.upscale_images:
            name, count, number = "Upscale", images, self._services.job(job).done
        if request.interrogate_images:
            name, count, number = "interrogate", 1, 0
        return {
            "skipped": self._skipping.get(job) == at.batch,
            "interrupted": job in self._interrupted,
            "stopping_generation": False,
            "job": name,
            "job_count": count,
            "job_timestamp": stamp(self._services.jobs.begun(job)),
            "job_no": number,
            "sampling_step": at.step,
            "sampling_steps": at.steps,
        }

    def _asked(self, job: int) -> tuple[GenerationRequest, int]:
        """What a job asks for, and how many images that are: read once, however often it is looked at."""
        if not self._known or self._known[0] != job:
            details = self._services.details(job)
            self._known = job, details.request, details.images
        return self._known[1:]

    def _idle(self) -> Mapping[str, Any]:
        """What A1111 goes on saying of the last job."""
        newest = self._services.page(ENDED, 1, None).jobs
        if not newest:
            return _NOTHING
        job = newest[0].id
        if not self._last or self._last[0] != job:
            has_begun = self._services.jobs.plan(job) is not None
            said = self._state(job, None) if has_begun else _NOTHING
            ended = {"job": "", "job_count": 0, "job_no": said["job_count"], "sampling_step": 0, "skipped": False}
            self._last = job, {**said, "job_timestamp": stamp(newest[0].created), **ended}
        return self._last[1]


_NOTHING: Mapping[str, Any] = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "0",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}


def fraction(state: Mapping[str, Any]) -> float:
    """A1111's progress: from 0.01 on, at most 1."""
    count = max(1, state["job_count"])
    steps = state["sampling_step"] / state["sampling_steps"] if state["sampling_steps"] else 0.0
    return float(min(1.0, _BEGUN + state["job_no"] / count + steps / count))


def stamp(seconds: float) -> str:
    """`20261128082326`."""
    return f"{datetime.fromtimestamp(seconds):%Y%m%d%H%M%S}"


def place(name: str, pending: Sequence[str]) -> str:
    """Where a task waits, in A1111's words."""
    return f"In queue: {pending.index(name) + 1}/{len(pending)}" if name in pending else "Waiting..."


def _png(data: bytes) -> str:
    from PIL import Image

    made = BytesIO()
    with Image.open(BytesIO(data)) as picture:
        picture.convert("RGB").save(made, "PNG", compress_level=1)
    return base64.b64encode(made.getvalue()).decode()

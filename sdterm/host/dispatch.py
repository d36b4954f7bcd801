"""From the queue to the workers and back: each device takes the job that suits it, or helps with one that is being
drawn; what its worker sends is kept and told."""

import asyncio
import contextlib
import logging
import math
import shutil
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sdterm.api import FieldError, JobDetails, Progress, Resumption, WorkerView
from sdterm.core.extensions.catalogue import CatalogueError
from sdterm.core.extensions.source import Source
from sdterm.core.files import legible
from sdterm.core.output.naming import NameFacts
from sdterm.core.output.saving import save_grid, save_image, unwritable
from sdterm.core.settings.rundir import RunFolder
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.events import (
    AnyPicture,
    Cancelled,
    Done,
    Event,
    Failed,
    Grid,
    Image,
    ModelLoading,
    Paused,
    Preview,
    Resumed,
    SideImage,
    Started,
    Step,
    SteppedDown,
    Waiting,
    Warning,
    event_of,
)
from sdterm.host.cards import Cards
from sdterm.host.database import is_full
from sdterm.host.drawings import Drawing, Part
from sdterm.host.extensions import Extensions, NeedsPluginError
from sdterm.host.log import EventLog
from sdterm.host.pictures import Pictures
from sdterm.host.placement import Candidate, placed
from sdterm.host.queue import JobQueue, WrongStateError
from sdterm.host.tapes import all_tapes, forget, tape, tapes_of
from sdterm.host.threads import in_thread
from sdterm.host.worker import UnusableDeviceError, WorkerLostError, WorkerProcess
from sdterm.messages import message, sentences

MOST_LOST = 3
"""How many workers a job may cost before it fails."""
SPOILT = frozenset({"saver_failed", "optimizer_skipped", "model_reloaded", "observer_failed"})
"""Codes of warnings that a plugin failed, and the job went on without it."""
KEPT_TAPES = 256 * 2**20
"""Bytes of tapes of jobs that are done, the newest first."""
_ANSWERS_WITHIN = 10.0  # seconds
LOOK_EVERY = 2.0  # seconds between looks whether a full disk has free space again
_FREED = 2**20  # bytes more than when it was full
_STUBBORN = 60.0  # seconds after which a job is tried again anyway: quotas do not show as free space
_NEVER = 2**63  # bytes that no disk has free: what a job waits for is something else

R = TypeVar("R")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """How a part of a job ended: what becomes of the job if nobody else draws at it, and what if others do."""

    event: Event | None
    alone: Callable[[], None]
    among_others: Callable[[], None] = lambda: None


class Dispatcher:
    """Draws the queue's jobs, one at a time on each device."""

    def __init__(
        self,
        devices: tuple[str | None, ...],
        settings: Settings,
        run_folder: RunFolder,
        jobs: JobQueue,
        pictures: Pictures,
        log: EventLog,
        extensions: Extensions,
        cards: Cards,
        spawn: Callable[[str | None], WorkerProcess],
    ) -> None:
        """spawn: makes the worker of a device, which is started once there is work."""
        self._extensions = extensions
        self._settings, self._run_folder = settings, run_folder
        self._jobs, self._pictures, self._log = jobs, pictures, log
        self._cards = cards
        self._workers = [spawn(device) for device in devices]
        self._news = {worker: asyncio.Event() for worker in self._workers}
        self._idle: set[WorkerProcess] = set()
        self._drained = jobs.drained()
        self._busy: dict[WorkerProcess, int] = {}  # the job that it draws, or is started for
        self._drawings: dict[int, Drawing] = {}
        self._progress: dict[int, Progress] = {}
        self._previews: dict[int, bytes] = {}
        self._cut_short: set[int] = set()
        self._to_load: Path | None = None  # a checkpoint that somebody is about to draw with
        self._loading: set[WorkerProcess] = set()
        self._to_free: dict[WorkerProcess, asyncio.Event] = {}
        self._stuck: set[WorkerProcess] = set()  # in loading plugins; to be replaced as soon as they draw nothing
        self._waiting: dict[int, tuple[int, float]] = {}  # job → bytes free when its disk was full, and when

    @property
    def workers(self) -> tuple[WorkerView, ...]:
        return tuple(self._view(worker) for worker in self._workers)

    def _view(self, worker: WorkerProcess) -> WorkerView:
        reading = self._cards.of(worker.name, worker.card)
        seen: dict[str, object] = {"drained": worker.name in self._drained}
        if reading:
            seen |= {"memory_used": reading.used, "memory_total": reading.total, "temperature": reading.temperature}
            seen["hardware"] = worker.hardware or reading.name
        return worker.view.model_copy(update=seen)

    @property
    def is_busy(self) -> bool:
        return bool(self._busy or self._loading)

    def check_device(self, name: str | None) -> None:
        """Raises FieldError if there is no device of that name that draws."""
        there = [worker.name for worker in self._workers if not worker.is_out]
        if name is not None and name not in there:
            said = message(
                "There is no device '{name}' here. This host uses {there}.",
                name=printable(name),
                there=", ".join(there),
            )
            raise FieldError("device", said)

    def drain(self, device: str, drained: bool) -> WorkerView:
        """Have a device take no new jobs, and let go of its memory once it draws nothing; or take them again. Raises
        FieldError."""
        self.check_device(device)
        self._jobs.drain(device, drained)
        self._drained = self._jobs.drained()
        self.wake()
        return next(view for view in self.workers if view.device == device)

    def progress(self, job: int) -> Progress | None:
        """Where a running job is."""
        return self._progress.get(job)

    def preview(self, job: int) -> bytes | None:
        """The newest picture of a running job on its way, if there was one."""
        return self._previews.get(job)

    def wake(self) -> None:
        """There may be something to draw."""
        for news in self._news.values():
            news.set()

    async def stop_job(self, job: int) -> None:
        """Have a job's workers stop within one network call; the queue knows what is to become of the job."""
        drawing = [worker for worker, drawn in self._busy.items() if drawn == job]
        if self._jobs.wish(job) == "cancel":
            for worker in drawing:
                worker.stop_soon()
        for worker in drawing:
            await worker.send("stop", job=job)

    async def cut_short(self, job: int, *, rest: bool) -> None:
        """Have a running job's pictures come as they stand. rest: those that have not begun are given up."""
        if rest:
            self._cut_short.add(job)
        for worker in [worker for worker, drawn in self._busy.items() if drawn == job]:
            await worker.send("cut", job=job, rest=rest)

    def try_again(self) -> None:
        """Other plugins serve: those that jobs wait for may be among them."""
        for job in self._jobs.waiting():
            if self._waiting.get(job, (0, 0.0)) == (_NEVER, math.inf):
                del self._waiting[job]
                self._jobs.resume(job, Resumption())
        self.wake()

    def preload(self, path: Path) -> None:
        """Have a checkpoint read by a worker that has nothing to draw; one that reads another begins afterwards. Raises
        WrongStateError if all draw."""
        if all(worker.is_out or worker in self._busy or worker.name in self._drained for worker in self._workers):
            raise WrongStateError(message("A job is running. The checkpoint is read by itself once a job needs it."))
        if self._to_load and self._to_load != path:
            self._not_loaded(self._to_load, message("Another was asked for since."))
        self._to_load = path
        self.wake()

    async def unload(self) -> None:
        """Free what workers without a job hold on their devices, not only the model; reading one is given up."""
        if self._to_load:
            self._not_loaded(self._to_load, _TO_FREE)
            self._to_load = None
        idle = [worker for worker in self._workers if worker.is_alive and worker not in self._busy]
        freed = {worker: self._to_free.setdefault(worker, asyncio.Event()) for worker in idle}
        await asyncio.gather(*(worker.end() for worker in idle if worker in self._loading))  # its reader notices
        self.wake()
        for event in freed.values():
            await event.wait()

    async def load_plugins(self, sources: Sequence[Source]) -> dict[str, str]:
        """Have every worker that is ready load a set beside the one that it draws with; one that starts is given it
        with its next job. Returns slug → why one cannot be loaded; under "" what cannot be blamed on one."""
        wrong: dict[str, str] = {}

        async def load(worker: WorkerProcess) -> None:
            asked = asyncio.create_task(worker.load_plugins(sources))
            await asyncio.sleep(0)  # until it is asked
            self.wake()  # so that its messages are read
            try:
                wrong.update(await asked)
            except TimeoutError:
                wrong[""] = "loading it takes the process that draws too long"
                self._stuck.add(worker)
                if worker not in self._busy:
                    await worker.end()
            except WorkerLostError as lost:
                wrong[""] = message("loading it ended the worker process: {why}", why=str(lost).rstrip("."))

        await asyncio.gather(*(load(worker) for worker in self._workers if worker.is_ready))
        return wrong

    async def run(self) -> None:
        """Until cancelled, which ends all workers; their jobs go on with the next host."""
        tasks = [asyncio.create_task(self._serve(worker, news)) for worker, news in self._news.items()]
        tasks.append(asyncio.create_task(self._look_for_free_bytes()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(worker.end() for worker in self._workers))

    async def _serve(self, worker: WorkerProcess, news: asyncio.Event) -> None:
        now, limit = asyncio.get_running_loop().time, self._settings["idle_unload"]
        idle_since, failures = now(), 0
        while True:
            news.clear()
            try:
                if worker in self._stuck:
                    self._stuck.discard(worker)
                    await worker.end()
                if worker.is_alive and worker.is_asked:
                    with contextlib.suppress(WorkerLostError):  # who asked is told
                        await worker.answered()
                    news.set()
                    continue
                job, freed = self._take(worker), self._to_free.pop(worker, None)
                if freed:
                    if job is None:
                        await worker.end()
                    freed.set()
                if job is not None:
                    if await self._is_of_other_device(job):
                        continue
                    if not await self._ready(worker, job):
                        failures += 1
                        if worker.is_out:
                            return
                        await asyncio.sleep(min(2.0**failures, _STUBBORN))
                        continue
                    failures = 0
                    if self._is_unlike(worker, job):
                        self._jobs.again(job)
                        self.wake()
                        continue
                    await self._draw(worker, job)
                    idle_since = now()
                    continue
                is_drained = worker.name in self._drained
                if is_drained and worker.is_alive:
                    await worker.end()
                if (path := self._to_load) and not is_drained:
                    self._to_load = None
                    await self._load(worker, path)
                    idle_since = now()
                    continue
                if await self._help(worker):
                    idle_since = now()
                    continue
                if worker.is_out:
                    return
            except Exception:  # a full disk, or a defect: the queue goes on once it can
                _log.exception("the queue cannot go on")
                await asyncio.sleep(LOOK_EVERY)
                continue
            left = idle_since + limit - now() if limit and worker.is_alive else None
            self._idle.add(worker)
            try:
                await asyncio.wait_for(news.wait(), left)
            except TimeoutError:
                await worker.end()  # frees everything that it has on the device, not only the model
            finally:
                self._idle.discard(worker)

    # --- which device draws what --------------------------------------------------------------------------------------

    def _take(self, worker: WorkerProcess) -> int | None:
        """The queue's next job for a device, among those that draw nothing; others that suit a job better are told."""
        idle = [each for each in self._workers if each is worker or each in self._idle]
        able = {each.name: each for each in idle if each.name not in self._drained}
        known = frozenset(each.name for each in self._workers if not each.is_out)
        here = {self._hardware(each) for each in able.values()}
        elsewhere = {self._hardware(each) for each in self._sound()} - here - {""}
        jobs = self._jobs.next(len(able), able, known, elsewhere)
        chosen = placed(jobs, [self._candidate(each) for each in able.values()], known)
        for name in chosen:
            if able[name] is not worker:
                self._news[able[name]].set()
        job = chosen.get(worker.name)
        taken = None if job is None else self._jobs.take(job)
        if taken is not None:
            self.wake()  # what could not be placed beside it may be for one of the others
        return taken

    def _sound(self) -> list[WorkerProcess]:
        """Those that can take jobs, now or later."""
        return [each for each in self._workers if not (each.is_out or each.trouble or each.name in self._drained)]

    def _is_unlike(self, worker: WorkerProcess, job: int) -> bool:
        """Whether a job was begun on other hardware than a device turned out to be, and another one may be like it."""
        began = self._jobs.hardware(job)
        if began in ("", worker.hardware) or self._jobs.device(job) is not None or self._jobs.wish(job):
            return False
        others = [each for each in self._sound() if each is not worker]
        return any(
            self._hardware(each) == began or (each in self._idle and not self._hardware(each)) for each in others
        )

    def _candidate(self, worker: WorkerProcess) -> Candidate:
        view, reading = worker.view, self._cards.of(worker.name, worker.card)
        return Candidate(
            worker.name,
            frozenset(name for name in (view.model, *view.kept) if name),
            reading.free if reading else None,
            worker.is_alive,
            self._hardware(worker),
        )

    def _hardware(self, worker: WorkerProcess) -> str:
        """What a device is; empty as long as that is not known, or while it cannot be started."""
        if worker.trouble:
            return ""
        reading = self._cards.of(worker.name, worker.card)
        return worker.hardware or (reading.name if reading else "")

    async def _is_of_other_device(self, job: int) -> bool:
        """Whether a job is pinned to a device that this host has not; it waits then."""
        device = self._jobs.device(job)
        there = [worker.name for worker in self._workers if not worker.is_out]
        if device is None or device in there:
            return False
        said = message(
            "The job is pinned to {device}, and this host uses {there}.",
            device=printable(device),
            there=", ".join(there),
        )
        waits = Waiting(
            code="no_device", message=said, advice=message("`sdterm queue pin JOB` lets any device run it.")
        )
        self._waiting[job] = _NEVER, math.inf
        await self._until_written(partial(self._jobs.end, job, "waiting", waits))
        return True

    async def _help(self, worker: WorkerProcess) -> bool:
        """Draw a share of a job that others draw. Returns whether it did."""
        for drawing in [*self._drawings.values()]:
            if not self._may_help(worker, drawing):
                continue
            if not worker.is_alive and not await self._started_to_help(worker, drawing):
                return False
            if images := await self._share(worker, drawing):
                await self._draw(worker, drawing.job, images)
                return True
        return False

    def _may_help(self, worker: WorkerProcess, drawing: Drawing) -> bool:
        """Whether there is something for it to draw, and the pictures stay the same."""
        return bool(
            (drawing.spreads and drawing.parts)
            and worker not in drawing.barred
            and worker.name not in self._drained
            and worker.hardware in (None, drawing.hardware)
            and not self._jobs.wish(drawing.job)
            and drawing.job not in self._cut_short
            and self._jobs.device(drawing.job) is None
            and (drawing.loose() or drawing.giver())
        )

    async def _started_to_help(self, worker: WorkerProcess, drawing: Drawing) -> bool:
        self._busy[worker] = drawing.job
        try:
            await worker.start()
        except (UnusableDeviceError, WorkerLostError) as error:
            worker.trouble, worker.is_out = str(error), isinstance(error, UnusableDeviceError)
            drawing.barred.add(worker)
            _log.error("device %s: %s", worker.name, worker.trouble)
            return False
        finally:
            self._busy.pop(worker, None)
        worker.trouble = None
        worker.set_job(None)  # it may come too late to help, and is idle then
        return True

    async def _share(self, worker: WorkerProcess, drawing: Drawing) -> set[int]:
        """Images of a job for one more worker: what nobody draws, else half of what the one with the most has not
        begun."""
        while self._may_help(worker, drawing):
            if images := drawing.loose():
                return images
            part = drawing.giver()
            assert part  # else it could not help
            if part.asked is None or part.asked.done():
                part.asked = asyncio.get_running_loop().create_future()
                await part.worker.send("release", job=drawing.job)
            try:
                await asyncio.wait_for(asyncio.shield(part.asked), _ANSWERS_WITHIN)
            except TimeoutError:  # it may hang; what it gives up later is for whoever looks then
                return set()
        return set()

    # --- drawing ------------------------------------------------------------------------------------------------------

    async def _load(self, worker: WorkerProcess, path: Path) -> None:
        """Have a worker read a checkpoint; events of no job tell how it goes."""
        self._loading.add(worker)
        try:
            if not worker.is_alive:
                await worker.start()
            worker.set_loading()
            serving = await self._extensions.serving()
            await worker.send("load", model=legible(str(path)), sources=[source.fields for source in serving.sources])
            async with aclosing(worker.messages()) as messages:
                async for message, _ in messages:
                    if message["type"] == "finished":
                        break
                    if message["type"] != "event":
                        continue
                    fields = dict(message["event"])
                    event = event_of(fields.pop("event"), fields)
                    if isinstance(event, ModelLoading):
                        worker.set_models(event)
                    self._log.add(None, event)
        except (WorkerLostError, UnusableDeviceError, CatalogueError) as error:
            self._not_loaded(path, _TO_FREE if worker in self._to_free else str(error))
        finally:
            self._loading.discard(worker)
            worker.set_job(None)

    def _not_loaded(self, path: Path, why: str) -> None:
        said = message("{name} was not loaded. {why}", name=printable(path.name), why=why)
        self._log.add(None, Warning(code="model_not_loaded", message=said))

    async def _ready(self, worker: WorkerProcess, job: int) -> bool:
        """Whether a worker can draw a job now; it is started if need be. If it cannot be, that is no fault of the job,
        which goes back to the queue; where no other device could draw it, it fails or waits with the reason."""
        if worker.is_alive:
            return True
        self._busy[worker] = job
        others = [other for other in self._workers if other is not worker and not other.trouble]
        pinned = self._jobs.device(job) is not None
        try:
            await worker.start()
        except UnusableDeviceError as error:
            worker.trouble, worker.is_out = str(error), bool(others)
            others = [] if pinned else others
            settle = partial(self._settle, job, Failed(code="no_device", message=str(error), advice=_NO_DEVICE))
        except WorkerLostError as lost:
            worker.trouble = sentences(message("It could not be started."), lost)
            goes_on = message("The job continues by itself once it can.")
            said = sentences(worker.trouble, goes_on, _SAFE if self._extensions.has_others else "")
            settle = partial(self._jobs.end, job, "waiting", Waiting(code=lost.code, message=said, advice=_SEE_LOGS))
            self._waiting[job] = _NEVER, asyncio.get_running_loop().time()
            others = [] if pinned else others
        else:
            worker.trouble = None
            return True
        finally:
            self._busy.pop(worker, None)
        _log.error("device %s: %s", worker.view.device, worker.trouble)
        if self._jobs.wish(job):
            settle = partial(self._settle, job, Cancelled(images=0))
        elif others:
            settle = partial(self._jobs.again, job)
        await self._until_written(settle)
        self.wake()
        return False

    async def _draw(self, worker: WorkerProcess, job: int, images: Collection[int] | None = None) -> None:
        """One job on one worker, until it ends, waits or stops, or others draw the rest. images: these of it; unset is
        all that are left."""
        if job not in self._drawings:
            spreads = len(self._workers) > 1 and self._jobs.details(job).request.spread == "auto"
            self._drawings[job] = Drawing(job, asyncio.get_running_loop().time(), spreads)
        drawing, goes_on = self._drawings[job], True
        self._busy[worker] = job
        try:
            while goes_on:
                part = drawing.begin(worker, images)
                outcome = await self._drawn(worker, drawing, part)
                goes_on = await self._until_written(partial(self._leave, worker, drawing, outcome))
                images = drawing.loose() or None
        finally:
            drawing.leave(worker)
            worker.set_job(None)
            self._busy.pop(worker, None)
            if not drawing.parts:
                self._drawings.pop(job, None)
                self._progress.pop(job, None)
                self._previews.pop(job, None)
        self.wake()

    async def _drawn(self, worker: WorkerProcess, drawing: Drawing, part: Part) -> _Outcome:
        """A part of a job, drawn as far as it goes."""
        job = drawing.job
        try:
            event = await self._talk(worker, drawing, part)
        except WorkerLostError as lost:
            return _Outcome(
                None, partial(self._after_loss, job, lost), partial(self._after_loss_of_part, drawing, worker, lost)
            )
        except NeedsPluginError as error:
            return _Outcome(None, partial(self._wait_for_plugin, job, str(error)), partial(drawing.barred.add, worker))
        except CatalogueError as error:
            event = Failed(code="plugin_failed", message=str(error), advice=_SEE_LOGS)
        except Exception as error:  # a full disk, or a defect of ours, which must not take the queue down
            _log.exception("job %s", job)
            await worker.end()
            full = isinstance(error, sqlite3.Error | OSError) and is_full(error)
            if full:
                self._waiting[job] = self._free_bytes(job), asyncio.get_running_loop().time()
            event = _FULL if full else _defect(error)
        return _Outcome(event, partial(self._settle, job, event), partial(self._set_aside, drawing, worker, event))

    def _leave(self, worker: WorkerProcess, drawing: Drawing, outcome: _Outcome) -> bool:
        """A part has ended. Returns whether its worker goes on with the job, since nobody else does."""
        event = outcome.event
        drawing.leave(worker, standing=isinstance(event, Paused))
        if drawing.parts:
            outcome.among_others()
            return False
        if drawing.stopped and (isinstance(event, Done) or self._jobs.wish(drawing.job)):
            self._settle(drawing.job, drawing.stopped)
        elif isinstance(event, Done) and drawing.is_shared and drawing.job not in self._cut_short:
            if drawing.loose() or not drawing.is_closing:
                drawing.is_closing = not drawing.loose()
                return True
            seconds = asyncio.get_running_loop().time() - drawing.began
            self._settle(drawing.job, event.model_copy(update={"seconds": seconds}))
        else:
            outcome.alone()
        return False

    def _set_aside(self, drawing: Drawing, worker: WorkerProcess, event: Event) -> None:
        """A part ended so, and others draw on."""
        if isinstance(event, Paused | Cancelled):
            drawing.stopped = event
        if isinstance(event, Failed):
            drawing.barred.add(worker)
            said = message("{device} leaves the job to the others. {why}", device=worker.name, why=event.message)
            self._log.add_once(drawing.job, Warning(code="share_failed", message=said, source=event.source))

    async def _talk(self, worker: WorkerProcess, drawing: Drawing, part: Part) -> Event:
        """Have a worker draw a part of a job. Returns the event with which that ended."""
        job = drawing.job
        worker.set_job(job)
        await self._pictures.recover(job, part.given)
        details = self._jobs.details(job)
        if self._jobs.wish(job):  # it came while the worker started
            return Cancelled(images=0)
        plan = self._jobs.plan(job) or ""
        sources = await self._extensions.for_job(details.request, details.bound_plugins if plan else ())
        await worker.send("draw", plan.encode(), **self._message(details, sources, drawing, part))
        if self._jobs.wish(job):  # it came while that was sent
            await self.stop_job(job)
        if job in self._cut_short:
            await worker.send("cut", job=job, rest=True)
        ended: Event | None = None
        try:
            async with aclosing(worker.messages()) as messages:
                async for message, data in messages:
                    if message.get("job") != job:
                        continue
                    if message["type"] == "finished":
                        break
                    if message["type"] == "released":
                        drawing.released(worker, message["images"])
                        self.wake()
                        continue
                    fields = dict(message["event"])
                    event = event_of(fields.pop("event"), fields, data)
                    told = await self._on_event(worker, details, event, message)
                    self._follow(drawing, part, details, event)
                    ended = ended or told
        except WorkerLostError:
            if not ended:
                raise
        if not ended:
            raise RuntimeError("the worker finished without saying how")
        return ended

    def _follow(self, drawing: Drawing, part: Part, job: JobDetails, event: Event) -> None:
        """What a worker says of its part is seen by who may take some of it over."""
        match event:
            case Started(images=images):
                saved = {number for number, _ in self._jobs.saved(job.id)}
                drawing.known({*range(images)} - {*job.left_out} - saved)
            case Step(batches=batches) | Resumed(batches=batches) if not part.has_begun:
                part.has_begun = True
                part.may_give = batches > 1 and len(part.images) > 1
                if part.may_give:
                    self.wake()

    def _message(self, job: JobDetails, sources: Sequence[Source], drawing: Drawing, part: Part) -> dict[str, Any]:
        """All that a worker needs to know of its part of a job."""
        folder = self._run_folder.tapes
        folder.mkdir(exist_ok=True)
        own = tape(folder, job.id, part.number)
        return {
            "job": job.id,
            "request": job.request.model_dump(mode="json"),
            "bound_plugins": job.bound_plugins,
            "sources": [source.fields for source in sources],
            "saved": dict(self._jobs.saved(job.id)),
            "skipped_images": job.left_out,
            "pause_at": None if job.pause_at is None else {"step": job.pause_at, "pass_no": job.pause_pass},
            "tape": str(own),
            "other_tapes": [str(path) for path in tapes_of(folder, job.id) if path != own],
            "first_pass": self._first_pass(job.id),
            "share": None if part.given is None else sorted(part.given),
            "drawn": {number: str(path) for number, path in drawing.drawn.items()} if drawing.is_closing else {},
        }

    def _first_pass(self, job: int) -> dict[str, Any] | None:
        """Where the first pass lies that a job goes on from, if it is still there."""
        of = self._jobs.first_pass(job)
        tapes = tapes_of(self._run_folder.tapes, of.job) if of else []
        return {"tapes": [str(path) for path in tapes], "image": of.image} if of and tapes else None

    def tape(self, job: int) -> Path:
        return tape(self._run_folder.tapes, job)

    def forget_tape(self, job: int) -> None:
        """Delete a job's tapes if the job can never go on; of those that are done the newest are kept for a while, so
        that other jobs can go on from their first passes."""
        state = self._jobs.job(job).state
        with contextlib.suppress(OSError):
            if state == "cancelled":
                forget(self._run_folder.tapes, job)
            elif state == "done":
                self._keep_newest()

    def _keep_newest(self) -> None:
        """Of the tapes of jobs that are done, delete the oldest ones beyond a limit."""
        folder = self._run_folder.tapes
        numbers = {number for number, _ in all_tapes(folder)}
        done = [number for number in sorted(numbers, reverse=True) if self._jobs.is_known(number)]
        kept = 0
        for number in (number for number in done if self._jobs.job(number).state == "done"):
            kept += sum(path.stat().st_size for path in tapes_of(folder, number))
            if kept > KEPT_TAPES:
                forget(folder, number)

    async def _on_event(
        self, worker: WorkerProcess, job: JobDetails, event: Event, message: dict[str, Any]
    ) -> Event | None:
        """Keep and tell what a worker says. Returns that with which its part of the job ends, if it does."""
        match event:
            case Started():
                self._jobs.prepared(job.id, event, message["bound_plugins"], worker.hardware)
            case Preview():
                self._previews[job.id] = event.data
                self._log.show(job.id, event)
            case Image() | SideImage() | Grid():
                return await self._keep(worker, job, event)
            case Done() | Failed() | Paused() | Cancelled():
                if isinstance(event, Failed) and event.source:
                    self._extensions.blame(event.source, self._jobs.details(job.id))
                return event
            case Warning():
                self._log.add_once(job.id, event)  # a run that goes on has the same to say
                if event.source and event.code in SPOILT:
                    self._extensions.blame(event.source, self._jobs.details(job.id))
            case Step():
                self._progress[job.id] = _progress(event)
                self._log.add(job.id, event)
            case Resumed():
                self._progress[job.id] = _progress(event)
                self._jobs.resumed(job.id, event)
            case SteppedDown():
                self._jobs.stepped_down(job.id, event)
            case _:
                if isinstance(event, ModelLoading):
                    worker.set_models(event)
                self._log.add(job.id, event)
        return None

    async def _keep(self, worker: WorkerProcess, job: JobDetails, event: AnyPicture) -> Failed | None:
        """Save an image, exactly once. Returns why that failed, if it did."""
        failed: Failed | None = None
        path = self._pictures.saved(job.id, event)
        if path is None:
            try:
                path = str(await in_thread(partial(self._save, job, event, asyncio.get_running_loop())))
                self._pictures.commit(job.id, event.model_copy(update={"path": path}))
            except OSError as error:
                with contextlib.suppress(sqlite3.Error):
                    self._pictures.release(job.id, event)
                failed = unwritable(job.saving.folder, error)
        if path and isinstance(event, Image):
            self._drawings[job.id].saved(event.index, Path(path))
        await worker.send("saved", job=job.id, path=None if failed else path)
        return failed

    def _save(self, job: JobDetails, event: AnyPicture, loop: asyncio.AbstractEventLoop) -> Path:
        """In a thread of its own: disks are slow. The database is the loop's."""

        def on_loop(act: Callable[[], R]) -> R:
            done: Future[R] = Future()

            def run() -> None:
                try:
                    done.set_result(act())
                except BaseException as error:
                    done.set_exception(error)

            loop.call_soon_threadsafe(run)
            return done.result()

        def reserve(path: Path) -> None:
            on_loop(lambda: self._pictures.reserve(job.id, event, path))

        if isinstance(event, Grid):
            saved = on_loop(lambda: self._jobs.saved(job.id))
            return save_grid(event, Path(saved[-1][1]).parent if saved else job.saving.folder, job.saving, reserve)
        started = on_loop(lambda: self._jobs.started(job.id))
        began = datetime.fromtimestamp(on_loop(lambda: self._jobs.begun(job.id)))
        assert started  # no image comes before it
        return save_image(event, NameFacts(job.request, started, event, began, datetime.now()), job.saving, reserve)

    def _settle(self, job: int, event: Event) -> None:
        """What becomes of a running job, given how its run ended and what its owner wished meanwhile."""
        wish, images = self._jobs.wish(job), self._jobs.job(job).done  # counted over all runs of the job
        stopped = isinstance(event, Paused | Cancelled) or (isinstance(event, Failed) and event.code == "disk_full")
        match event:
            case Done():
                if job in self._cut_short:
                    self._jobs.leave_out_rest(job)
                self._jobs.end(job, "done", event.model_copy(update={"images": images}))
            case _ if stopped and wish == "cancel":
                self._jobs.end(job, "cancelled", Cancelled(images=images))
            case _ if stopped and wish == "again":
                self._jobs.again(job)
            case _ if stopped and wish == "pause":
                self._jobs.end(job, "paused", Paused(images=images))
            case Failed(code="disk_full"):
                self._waiting.setdefault(job, (self._free_bytes(job), asyncio.get_running_loop().time()))
                said = sentences(event.message, message("The job continues by itself once there is room."))
                self._jobs.end(
                    job, "waiting", Waiting(code=event.code, message=said, advice=message("Free some space."))
                )
            case Failed():
                self._jobs.end(job, "failed", event)
            case Paused():
                self._jobs.end(job, "paused", event.model_copy(update={"images": images}))
            case Cancelled():
                self._jobs.end(job, "cancelled", Cancelled(images=images))
        self._cut_short.discard(job)
        self.forget_tape(job)

    def _after_loss(self, job: int, lost: WorkerLostError) -> None:
        attempts = self._jobs.interrupted(job, lost.code, str(lost))
        details = self._jobs.details(job)
        disabled = lost.plugin and self._extensions.blame(lost.plugin, details, attempts)
        wish = self._jobs.wish(job)
        if wish in ("cancel", "pause"):
            self._settle(job, Cancelled(images=0))
        elif lost.plugin and disabled and not self._extensions.is_needed(lost.plugin, details):
            self._jobs.again(job)  # without it
        elif disabled:
            waits = message(
                "The extension {extension} is disabled until it changes, and the job waits for that.",
                extension=lost.plugin,
            )
            self._wait_for_plugin(job, sentences(lost, waits))
        elif attempts < MOST_LOST:
            self._jobs.again(job)
        else:
            said = sentences(message("The job ended {number} worker processes and was stopped.", number=attempts), lost)
            advice = sentences(_SET_ASIDE, _SAFE if self._extensions.has_others else "")
            self._settle(job, Failed(code=lost.code, message=said, advice=advice, source=lost.plugin))

    def _after_loss_of_part(self, drawing: Drawing, worker: WorkerProcess, lost: WorkerLostError) -> None:
        """The others draw on; the worker comes back for what is left, unless that costs one process after the other."""
        attempts = self._jobs.interrupted(drawing.job, lost.code, str(lost))
        disabled = lost.plugin and self._extensions.blame(lost.plugin, self._jobs.details(drawing.job), attempts)
        if disabled or attempts >= MOST_LOST:
            drawing.barred.add(worker)
        self.wake()

    def _wait_for_plugin(self, job: int, why: str) -> None:
        self._waiting[job] = _NEVER, math.inf
        waits = Waiting(
            code=NeedsPluginError.code, message=why, advice=message("Repair it, put it back, or cancel the job.")
        )
        self._jobs.end(job, "waiting", waits)

    async def _until_written(self, act: Callable[[], R]) -> R:
        """Do what must not be lost; on a full disk, once there is room."""
        while True:
            try:
                return act()
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                _log.error("the queue cannot be written: %s", error)
                await asyncio.sleep(LOOK_EVERY)

    async def _look_for_free_bytes(self) -> None:
        """Wake the jobs that wait for a disk."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(sqlite3.Error):  # there is no room yet
                for job in self._jobs.waiting():
                    before, since = self._waiting.get(job, (0, 0.0))
                    free_bytes = await in_thread(partial(_free_bytes_in, self._folders(job)))
                    if job not in self._jobs.waiting():
                        continue
                    if free_bytes > before + _FREED or now - since > _STUBBORN:
                        self._jobs.resume(job, Resumption())
                        self._waiting.pop(job, None)
                        _log.info("job %s goes on: there is room", job)
                        self.wake()

    def _free_bytes(self, job: int) -> int:
        """Bytes free where a job writes."""
        return _free_bytes_in(self._folders(job))

    def _folders(self, job: int) -> set[Path]:
        return {self._run_folder.folder, self._run_folder.tapes, self._jobs.saving(job).folder}


def _free_bytes_in(folders: Collection[Path]) -> int:
    """Bytes free in the fullest."""
    free = []
    for folder in folders:
        with contextlib.suppress(OSError):
            free.append(shutil.disk_usage(folder).free)
    return min(free, default=0)


def _progress(event: Step | Resumed) -> Progress:
    return Progress.model_validate(event.model_dump(include=set(Progress.model_fields)))


def _defect(error: Exception) -> Failed:
    said = f"{type(error).__name__}: {error}"
    return Failed(code="internal", message=said, advice=message("This is a defect: `sdterm host logs` shows where."))


_FULL = Failed(code="disk_full", message=message("The disk is full."), advice=message("Free some space."))
_NO_DEVICE = message("Start the host with another: sdterm host stop, then sdterm host start --device NAME.")
_TO_FREE = message("It was given up: models were to be freed.")
_SEE_LOGS = message("`sdterm host logs` shows more.")
_SAFE = message("If an extension is to blame: `sdterm host stop`, then `sdterm host start --safe` starts without any.")
_SET_ASIDE = message(
    "Try a smaller size or another sampler, then `sdterm queue retry` it: what was computed is "
    "kept. `sdterm host logs` shows more."
)

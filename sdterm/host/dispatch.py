"""From the queue to the workers and back: each device takes the next job; what its worker sends is kept and told."""

import asyncio
import contextlib
import logging
import math
import shutil
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sdterm.api import JobDetails, Progress, Resumption, WorkerView
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
    Waiting,
    Warning,
    event_of,
)
from sdterm.host.database import is_full
from sdterm.host.extensions import Extensions, NeedsPluginError
from sdterm.host.log import EventLog
from sdterm.host.pictures import Pictures
from sdterm.host.queue import JobQueue, WrongStateError
from sdterm.host.threads import in_thread
from sdterm.host.worker import UnusableDeviceError, WorkerLostError, WorkerProcess

MOST_LOST = 3
"""How many workers a job may cost before it fails."""
SPOILT = frozenset({"saver_failed", "optimizer_skipped", "model_reloaded", "observer_failed"})
"""Codes of warnings that a plugin failed, and the job went on without it."""
KEPT_TAPES = 256 * 2**20
"""Bytes of tapes of jobs that are done, the newest first."""
LOOK_EVERY = 2.0  # seconds between looks whether a full disk has free space again
_FREED = 2**20  # bytes more than when it was full
_STUBBORN = 60.0  # seconds after which a job is tried again anyway: quotas do not show as free space
_NEVER = 2**63  # bytes that no disk has free: what a job waits for is something else

R = TypeVar("R")
_log = logging.getLogger(__name__)


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
        spawn: Callable[[str | None], WorkerProcess],
    ) -> None:
        """spawn: makes the worker of a device, which is started once there is work."""
        self._extensions = extensions
        self._settings, self._run_folder = settings, run_folder
        self._jobs, self._pictures, self._log = jobs, pictures, log
        self._workers = [spawn(device) for device in devices]
        self._news = [asyncio.Event() for _ in devices]
        self._running: dict[int, WorkerProcess] = {}
        self._progress: dict[int, Progress] = {}
        self._to_load: Path | None = None  # a checkpoint that somebody is about to draw with
        self._loading: set[WorkerProcess] = set()
        self._to_free: dict[WorkerProcess, asyncio.Event] = {}
        self._stuck: set[WorkerProcess] = set()  # in loading plugins; to be replaced as soon as they draw nothing
        self._waiting: dict[int, tuple[int, float]] = {}  # job → bytes free when its disk was full, and when

    @property
    def workers(self) -> tuple[WorkerView, ...]:
        return tuple(worker.view for worker in self._workers)

    @property
    def is_busy(self) -> bool:
        return bool(self._running or self._loading)

    def progress(self, job: int) -> Progress | None:
        """Where a running job is."""
        return self._progress.get(job)

    def wake(self) -> None:
        """There may be something to draw."""
        for news in self._news:
            news.set()

    async def stop_job(self, job: int) -> None:
        """Have a job's worker stop within one network call; the queue knows what is to become of the job."""
        if worker := self._running.get(job):
            if self._jobs.wish(job) == "cancel":
                worker.stop_soon()
            await worker.send("stop", job=job)

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
        drawing = self._running.values()
        if all(worker.is_out or worker in drawing for worker in self._workers):
            raise WrongStateError("A job is being drawn. The checkpoint is read by itself once a job needs it.")
        if self._to_load and self._to_load != path:
            self._not_loaded(self._to_load, "Another was asked for since.")
        self._to_load = path
        self.wake()

    async def unload(self) -> None:
        """Free what workers without a job hold on their devices, not only the model; reading one is given up."""
        if self._to_load:
            self._not_loaded(self._to_load, _TO_FREE)
            self._to_load = None
        idle = [worker for worker in self._workers if worker.is_alive and worker not in self._running.values()]
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
                if worker not in self._running.values():
                    await worker.end()
            except WorkerLostError as lost:
                wrong[""] = f"the process that draws did not outlive loading it: {lost}".rstrip(".")

        await asyncio.gather(*(load(worker) for worker in self._workers if worker.is_ready))
        return wrong

    async def run(self) -> None:
        """Until cancelled, which ends all workers; their jobs go on with the next host."""
        served = zip(self._workers, self._news, strict=True)
        tasks = [asyncio.create_task(self._serve(worker, news)) for worker, news in served]
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
            if not worker.is_alive:
                await asyncio.sleep(0)  # those that have a model in memory look first
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
                job, freed = self._jobs.take(), self._to_free.pop(worker, None)
                if freed:
                    if job is None:
                        await worker.end()
                    freed.set()
                if job is not None:
                    if not await self._ready(worker, job):
                        failures += 1
                        if worker.is_out:
                            return
                        await asyncio.sleep(min(2.0**failures, _STUBBORN))
                        continue
                    failures = 0
                    await self._draw(worker, job)
                    idle_since = now()
                    continue
                if path := self._to_load:
                    self._to_load = None
                    await self._load(worker, path)
                    idle_since = now()
                    continue
            except Exception:  # a full disk, or a defect: the queue goes on once it can
                _log.exception("the queue cannot go on")
                await asyncio.sleep(LOOK_EVERY)
                continue
            left = idle_since + limit - now() if limit and worker.is_alive else None
            try:
                await asyncio.wait_for(news.wait(), left)
            except TimeoutError:
                await worker.end()  # frees everything that it has on the device, not only the model

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
        said = f"{printable(path.name)} was not loaded. {why}"
        self._log.add(None, Warning(code="model_not_loaded", message=said))

    async def _ready(self, worker: WorkerProcess, job: int) -> bool:
        """Whether a worker can draw a job now; it is started if need be. If it cannot be, that is no fault of the job,
        which goes back to the queue; where no other device could draw it, it fails or waits with the reason."""
        if worker.is_alive:
            return True
        self._running[job] = worker
        others = [other for other in self._workers if other is not worker and not other.trouble]
        try:
            await worker.start()
        except UnusableDeviceError as error:
            worker.trouble, worker.is_out = str(error), bool(others)
            settle = partial(self._settle, job, Failed(code="no_device", message=str(error), advice=_NO_DEVICE))
        except WorkerLostError as lost:
            worker.trouble = f"It could not be started. {lost}"
            said = f"{worker.trouble} The job goes on by itself once it can."
            said += f" {_SAFE}" if self._extensions.has_others else ""
            settle = partial(self._jobs.end, job, "waiting", Waiting(code=lost.code, message=said, advice=_SEE_LOGS))
            self._waiting[job] = _NEVER, asyncio.get_running_loop().time()
        else:
            worker.trouble = None
            return True
        finally:
            self._running.pop(job, None)
        _log.error("device %s: %s", worker.view.device, worker.trouble)
        if self._jobs.wish(job):
            settle = partial(self._settle, job, Cancelled(images=0))
        elif others:
            settle = partial(self._jobs.again, job)
        await self._until_written(settle)
        self.wake()
        return False

    async def _draw(self, worker: WorkerProcess, job: int) -> None:
        """One job on one worker, until it ends, waits or stops."""
        self._running[job] = worker
        try:
            await self._talk(worker, job)
        except WorkerLostError as lost:
            await self._until_written(partial(self._after_loss, job, lost))
        except NeedsPluginError as error:
            await self._until_written(partial(self._wait_for_plugin, job, str(error)))
        except CatalogueError as error:
            failed = Failed(code="plugin_failed", message=str(error), advice=_SEE_LOGS)
            await self._until_written(partial(self._settle, job, failed))
        except Exception as error:  # a full disk, or a defect of ours, which must not take the queue down
            _log.exception("job %s", job)
            await worker.end()
            full = isinstance(error, sqlite3.Error | OSError) and is_full(error)
            if full:
                self._waiting[job] = self._free_bytes(job), asyncio.get_running_loop().time()
            await self._until_written(partial(self._settle, job, _FULL if full else _defect(error)))
        finally:
            worker.set_job(None)
            self._running.pop(job, None)
            self._progress.pop(job, None)
        self.wake()

    async def _talk(self, worker: WorkerProcess, job: int) -> None:
        worker.set_job(job)
        await self._pictures.recover(job)
        details = self._jobs.details(job)
        if self._jobs.wish(job):  # it came while the worker started
            self._settle(job, Cancelled(images=0))
            return
        plan = self._jobs.plan(job) or ""
        sources = await self._extensions.for_job(details.request, details.bound_plugins if plan else ())
        await worker.send("draw", plan.encode(), **self._message(details, sources))
        if self._jobs.wish(job):  # it came while that was sent
            await self.stop_job(job)
        settled = False
        try:
            async with aclosing(worker.messages()) as messages:
                async for message, data in messages:
                    if message.get("job") != job:
                        continue
                    if message["type"] == "finished":
                        break
                    fields = dict(message["event"])
                    event = event_of(fields.pop("event"), fields, data)
                    settled = await self._on_event(worker, details, event, message) or settled
        except WorkerLostError:
            if not settled:
                raise
        if not settled:
            raise RuntimeError("the worker finished without saying how")

    def _message(self, job: JobDetails, sources: Sequence[Source]) -> dict[str, Any]:
        """All that a worker needs to know of a job."""
        self._run_folder.tapes.mkdir(exist_ok=True)
        return {
            "job": job.id,
            "request": job.request.model_dump(mode="json"),
            "bound_plugins": job.bound_plugins,
            "sources": [source.fields for source in sources],
            "saved": dict(self._jobs.saved(job.id)),
            "skipped_images": job.left_out,
            "pause_at": None if job.pause_at is None else {"step": job.pause_at, "pass_no": job.pause_pass},
            "tape": str(self.tape(job.id)),
            "first_pass": self._first_pass(job.id),
        }

    def _first_pass(self, job: int) -> dict[str, Any] | None:
        """Where the first pass lies that a job goes on from, if it is still there."""
        of = self._jobs.first_pass(job)
        tape = self.tape(of.job) if of else None
        return {"tape": str(tape), "image": of.image} if of and tape and tape.exists() else None

    def tape(self, job: int) -> Path:
        return self._run_folder.tapes / f"{job}.tape"

    def forget_tape(self, job: int) -> None:
        """Delete a job's tape if the job can never go on; of those that are done the newest are kept for a while, so
        that other jobs can go on from their first passes."""
        state = self._jobs.job(job).state
        with contextlib.suppress(OSError):
            if state == "cancelled":
                self.tape(job).unlink(missing_ok=True)
            elif state == "done":
                self._keep_newest()

    def _keep_newest(self) -> None:
        """Of the tapes of jobs that are done, delete the oldest ones beyond a limit."""
        numbers = (int(tape.stem) for tape in self._run_folder.tapes.glob("*.tape") if tape.stem.isdecimal())
        done = [number for number in sorted(numbers, reverse=True) if self._jobs.is_known(number)]
        kept = 0
        for number in (number for number in done if self._jobs.job(number).state == "done"):
            kept += self.tape(number).stat().st_size
            if kept > KEPT_TAPES:
                self.tape(number).unlink(missing_ok=True)

    async def _on_event(self, worker: WorkerProcess, job: JobDetails, event: Event, message: dict[str, Any]) -> bool:
        """Keep and tell what a worker says. Returns whether the job's fate is settled by it."""
        match event:
            case Started():
                self._jobs.prepared(job.id, event, message["bound_plugins"])
            case Preview():
                self._log.show(job.id, event)
            case Image() | SideImage() | Grid():
                return await self._keep(worker, job, event)
            case Done() | Failed() | Paused() | Cancelled():
                self._settle(job.id, event)
                if isinstance(event, Failed) and event.source:
                    self._extensions.blame(event.source, self._jobs.details(job.id))
                return True
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
            case _:
                if isinstance(event, ModelLoading):
                    worker.set_models(event)
                self._log.add(job.id, event)
        return False

    async def _keep(self, worker: WorkerProcess, job: JobDetails, event: AnyPicture) -> bool:
        """Save an image, exactly once. Returns True if that failed, which settles the job."""
        failed: Failed | None = None
        path = self._pictures.saved(job.id, event)
        if path is None:
            try:
                path = str(await in_thread(partial(self._save, job, event, asyncio.get_running_loop())))
                self._pictures.commit(job.id, event.model_copy(update={"path": path}))
            except OSError as error:
                with contextlib.suppress(sqlite3.Error):
                    self._pictures.release(job.id)
                failed = unwritable(job.saving.folder, error)
        await worker.send("saved", job=job.id, path=None if failed else path)
        if failed:
            self._settle(job.id, failed)
        return failed is not None

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
                self._jobs.end(job, "done", event.model_copy(update={"images": images}))
            case _ if stopped and wish == "cancel":
                self._jobs.end(job, "cancelled", Cancelled(images=images))
            case _ if stopped and wish == "again":
                self._jobs.again(job)
            case _ if stopped and wish == "pause":
                self._jobs.end(job, "paused", Paused(images=images))
            case Failed(code="disk_full"):
                self._waiting.setdefault(job, (self._free_bytes(job), asyncio.get_running_loop().time()))
                said = f"{event.message} The job goes on by itself once there is room."
                self._jobs.end(job, "waiting", Waiting(code=event.code, message=said, advice="Free some space."))
            case Failed():
                self._jobs.end(job, "failed", event)
            case Paused():
                self._jobs.end(job, "paused", event.model_copy(update={"images": images}))
            case Cancelled():
                self._jobs.end(job, "cancelled", Cancelled(images=images))
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
            said = f"{lost} The extension {lost.plugin} is disabled until it changes, and the job waits for that."
            self._wait_for_plugin(job, said)
        elif attempts < MOST_LOST:
            self._jobs.again(job)
        else:
            said = f"The job cost {attempts} processes and is set aside. {lost}"
            advice = f"{_SET_ASIDE} {_SAFE}" if self._extensions.has_others else _SET_ASIDE
            self._settle(job, Failed(code=lost.code, message=said, advice=advice, source=lost.plugin))

    def _wait_for_plugin(self, job: int, why: str) -> None:
        self._waiting[job] = _NEVER, math.inf
        waits = Waiting(code=NeedsPluginError.code, message=why, advice="Mend it or put it back, or cancel the job.")
        self._jobs.end(job, "waiting", waits)

    async def _until_written(self, act: Callable[[], None]) -> None:
        """Do what must not be lost; on a full disk, once there is room."""
        while True:
            try:
                act()
                return
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
    return Failed(code="internal", message=said, advice="This is a defect: `sdterm host logs` shows where.")


_FULL = Failed(code="disk_full", message="The disk is full.", advice="Free some space.")
_NO_DEVICE = "Start the host with another: sdterm host stop, then sdterm host start --device NAME."
_TO_FREE = "It was given up: models were to be freed."
_SEE_LOGS = "`sdterm host logs` shows more."
_SAFE = "If an extension is to blame: `sdterm host stop`, then `sdterm host start --safe` starts without any."
_SET_ASIDE = (
    "Try a smaller size or another sampler, then `sdterm queue retry` it: what was computed is kept. "
    "`sdterm host logs` shows more."
)

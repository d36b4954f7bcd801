"""Everything a host has, put together: what the API speaks to."""

import asyncio
import contextlib
import logging
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sdterm.api import (
    FieldError,
    HashRequest,
    Health,
    JobDetails,
    JobPage,
    JobView,
    Model,
    Networks,
    PromptReading,
    Retry,
    Snapshot,
    State,
    Style,
    Submission,
    Trap,
    Words,
)
from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.extensions.probe import ProbeError
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.files import legible
from sdterm.core.library.checkpoints import library_of
from sdterm.core.library.interrogators import named_interrogators
from sdterm.core.library.recognition import Recognition
from sdterm.core.library.upscalers import named_upscaler
from sdterm.core.names import UnknownNameError
from sdterm.core.output.found import image_files
from sdterm.core.output.saving import Saving, ready, saving_of
from sdterm.core.planning.choices import Parts, choose_parts, latent_upscaler
from sdterm.core.planning.enlargement import check_upscalers, wants_upscaler
from sdterm.core.planning.named_inputs import named_inputs
from sdterm.core.prompt.styles import find_style, styles_of
from sdterm.core.settings.devices import devices_of, threads_each
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.rundir import RunFolder
from sdterm.core.settings.settings import SECRET, SETTINGS, Settings, listens
from sdterm.events import NoticesChanged
from sdterm.host import model_files
from sdterm.host.cards import Cards
from sdterm.host.checkpoints import Checkpoints
from sdterm.host.database import Database
from sdterm.host.dispatch import Dispatcher
from sdterm.host.downloads import Downloads
from sdterm.host.extensions import Extensions
from sdterm.host.found import find_pictures
from sdterm.host.hashing import Hasher
from sdterm.host.inputs import KeptInputs
from sdterm.host.log import EventLog
from sdterm.host.model_files import LibraryWatch
from sdterm.host.pictures import Pictures
from sdterm.host.queue import JobQueue
from sdterm.host.tapes import all_tapes, job_of
from sdterm.host.threads import SlowDiskError, Threads, in_thread
from sdterm.host.trash import Trash, TrashError
from sdterm.host.worker import WorkerProcess
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError
from sdterm.version import __version__

if TYPE_CHECKING:
    from sdterm.core.prompt.lint import Lint

THREADS, DISK_LIMIT = 16, 30.0
"""How many requests look at files at a time, and seconds that each may take."""
FAILED_TAPE_KEPT = 7 * 24 * 3600.0
"""Seconds."""
_LOOK_LIMIT = 1.0  # seconds
_INPUTS_EVERY = 3600.0  # seconds
RECOGNISED_AT_ONCE = 32
"""Checkpoints that extensions are asked about in one go: one that they die of keeps no more than these unknown."""

_log = logging.getLogger(__name__)


class HostServices:
    """One host's parts.

    clock: seconds since 1970; it may jump, and decides nothing but what is written down.
    """

    def __init__(self, settings: Settings, run_folder: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.run_folder = settings, run_folder
        self._started = clock()
        self._touched = time.monotonic()
        self._clock = clock
        self.address: str | None = None
        """Where it is reached over TCP."""
        self.changing_settings = asyncio.Lock()
        """Of two changes at once the second would write what the first had read."""
        self.threads = Threads(THREADS, DISK_LIMIT)
        devices = devices_of(settings["device"], os.environ)
        self._notices: list[str] = []
        self._of_sharing: tuple[str, ...] = ()
        self._share_token: str | None = None
        self._search: asyncio.Task[None] | None = None
        self.database = Database(run_folder.database)
        self.log = EventLog(self.database, clock, self._snapshot)
        self.jobs = JobQueue(self.database, self.log, clock)
        self.pictures = Pictures(self.database, self.log, clock)
        self.trash = Trash(self.database, self.log, clock)
        self.inputs = KeptInputs(settings.root, self.database, self.threads, clock)
        self.checkpoints = Checkpoints(settings)
        self.hasher = Hasher(lambda: self.checkpoints.library, self.log)
        self.library_watch = LibraryWatch(lambda: self.checkpoints.library, self.log)
        self.downloads = Downloads(settings.root, self.log)
        self.extensions = Extensions(
            settings,
            run_folder.folder,
            self.log,
            load=lambda sources: self.dispatcher.load_plugins(sources),
            adopted=lambda: self.dispatcher.try_again(),
        )
        self.cards = Cards(lambda: bool(self.log.watching or self.dispatcher.is_busy), os.environ)
        threads = threads_each(devices, os.environ)
        self.dispatcher = Dispatcher(
            devices,
            settings,
            run_folder,
            self.jobs,
            self.pictures,
            self.log,
            self.extensions,
            self.cards,
            spawn=lambda device: WorkerProcess(device, settings, run_folder.folder, threads),
        )

    async def look_after_trash(self) -> None:
        """Settle what the last host was moving, and delete for good what is older than the setting says."""
        await self.trash.recover()
        if days := self.settings["trash_days"]:
            try:
                emptied = await self.empty_trash(days)
            except (TrashError, sqlite3.Error) as error:
                _log.warning("the trash: %s", error)
            else:
                if emptied:
                    _log.info("%d pictures were older than trash_days and are gone for good", emptied)

    async def empty_trash(self, days: float) -> int:
        """Delete for good what has been in the trash for so many days: how many pictures. Raises TrashError."""
        emptied = await self.trash.empty(self._clock() - days * 24 * 3600 if days else math.inf)
        await self._sweep_inputs()
        return emptied

    async def look_after_inputs(self) -> None:
        """Remove, for ever, inputs that nothing refers to any more."""
        while True:
            await self._sweep_inputs()
            await asyncio.sleep(_INPUTS_EVERY)

    async def _sweep_inputs(self) -> None:
        try:
            if removed := await self.inputs.sweep():
                _log.info("%d inputs are gone that no job and no picture referred to", removed)
        except (OSError, SlowDiskError, sqlite3.Error) as error:
            _log.warning("the inputs: %s", error)

    def recover(self) -> None:
        """Go on where the last host ended."""
        if self.database.damaged:
            self._notices.append(
                message(
                    "The queue's database was damaged. It is kept as {path}, and the queue began empty.",
                    path=self.database.damaged,
                )
            )
        self._end_unsaved()
        self.jobs.recover()
        self._keep_lost_tapes()
        for tape in self.run_folder.tapes.glob("*.tape"):
            self._sweep(tape)
        self.extensions.sweep(self.jobs.bound_plugins())

    def _end_unsaved(self) -> None:
        """Jobs whose images were for one answer alone: who waited for it is gone with the last host."""
        folder = self.run_folder.unsaved
        self.jobs.abandon(folder)
        if folder.exists():
            self.pictures.forget_below(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _keep_lost_tapes(self) -> None:
        """Jobs are never deleted from the database. A tape of one that it does not know tells that it lost some."""
        lost = [(job, tape) for job, tape in all_tapes(self.run_folder.tapes) if not self.jobs.is_known(job)]
        if not lost:
            return
        kept = self.run_folder.folder / f"tapes.lost-{time.time():.0f}"
        kept.mkdir(mode=0o700, exist_ok=True)
        for _, tape in lost:
            tape.rename(kept / tape.name)
        numbers = sorted({job for job, _ in lost})
        self.jobs.begin_after(max(numbers))
        said = ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
        notice = message(
            "The queue's database has lost jobs ({jobs}). What they had computed is kept in {folder}.",
            jobs=said,
            folder=kept,
        )
        self._notices.append(notice)

    async def look_for_lost_pictures(self) -> None:
        """Find out whether the gallery is empty although there are pictures; a slow disk is not waited for."""
        folder = self.saving().folder
        if not self.pictures.are_none():
            return
        with contextlib.suppress(TimeoutError):
            if await asyncio.wait_for(in_thread(lambda: any(image_files(folder))), _LOOK_LIMIT):
                said = message(
                    "The gallery is empty, but {folder} has images. `sdterm gallery --rescan` lists them.",
                    folder=folder,
                )
                self._notices.append(said)

    def find_pictures(self) -> None:
        """Search the outputs folder for pictures that the gallery does not list; events tell how that goes."""
        if not self.is_searching:
            self._search = asyncio.create_task(find_pictures(self.saving().folder, self.pictures, self.log))

    @property
    def is_searching(self) -> bool:
        return self._search is not None and not self._search.done()

    def _sweep(self, tape: Path) -> None:
        """Delete the tape of a job that never goes on, or failed so long ago that nobody will try it again."""
        with contextlib.suppress(OSError):  # it stays until the next start
            number = job_of(tape)
            if number is None:
                tape.unlink()
                return
            job = self.jobs.job(number)
            if job.state == "failed" and self._clock() - (job.ended or 0) > FAILED_TAPE_KEPT:
                tape.unlink()
            self.dispatcher.forget_tape(job.id)

    def opened(self, url: str, *said: str) -> None:
        """The host is reached at that address over TCP. said: what its user should know of that."""
        self.address = url
        self._notices += filter(None, said)

    def tell_of_sharing(self, *said: str, token: str | None = None) -> None:
        """Have clients know how the tunnel is, in place of what they knew. token: for the host's user alone."""
        self._of_sharing, self._share_token = said, token
        self.log.add(None, NoticesChanged())

    def touch(self) -> None:
        """Somebody is there."""
        self._touched = time.monotonic()

    async def until_idle(self) -> None:
        """Wait until nobody has wanted anything for as long as the settings say."""
        limit = self.settings["idle_exit"]
        while True:
            working = self.dispatcher.is_busy or self.hasher.is_busy or self.downloads.is_busy or self.is_searching
            if working or self.log.watching or self.jobs.waiting() or listens(self.settings):
                self.touch()
            left = self._touched + limit - time.monotonic()
            if limit and left <= 0:
                return
            await asyncio.sleep(min(max(left, 1.0), 60.0) if limit else 3600.0)

    # --- what clients ask ---------------------------------------------------------------------------------------------

    def health(self, *, secrets: bool = True) -> Health:
        """secrets: with the settings and the token that are shown to nobody else than the host's user."""
        return Health(
            version=__version__,
            pid=os.getpid(),
            data=str(self.settings.root),
            started=self._started,
            settings={
                s.key: legible(self.settings[s.key])
                for s in SETTINGS
                if s.scope == "host" and (secrets or s.key not in SECRET)
            },
            workers=self.dispatcher.workers,
            queue=self.jobs.queue(),
            last_event=self.log.last,
            watching=self.log.watching,
            notices=(*self._notices, *self._of_sharing),
            address=self.address,
            share_token=self._share_token if secrets else None,
        )

    def job(self, job: int) -> JobView:
        return self.jobs.job(job).model_copy(update={"progress": self.dispatcher.progress(job)})

    def details(self, job: int) -> JobDetails:
        return self.jobs.details(job).model_copy(update={"progress": self.dispatcher.progress(job)})

    def page(self, states: Sequence[State], limit: int, cursor: str | None) -> JobPage:
        page = self.jobs.page(states, limit, cursor)
        jobs = (job.model_copy(update={"progress": self.dispatcher.progress(job.id)}) for job in page.jobs)
        return page.model_copy(update={"jobs": tuple(jobs)})

    async def submit(self, submission: Submission, along: Callable[[int], None] | None = None) -> int:
        """Queue a job, if it can be drawn. along: as in `JobQueue.submit`. Raises UnknownNameError, RequestError,
        StylesError, CatalogueError or OutputFolderError."""
        self.dispatcher.check_device(submission.device)
        submission = await self._settled(submission)
        inputs = await self.check(submission)
        model = await self._model(submission.request)
        job = self.jobs.submit(submission, submission.saving or self.saving(), inputs, model, along)
        self.dispatcher.wake()
        return job

    async def cancel(self, job: int) -> None:
        """Stop a job for good; finished images stay. Raises UnknownJobError, WrongStateError."""
        if self.jobs.cancel(job):
            await self.dispatcher.stop_job(job)
        self.dispatcher.forget_tape(job)

    async def _settled(self, submission: Submission) -> Submission:
        """The same with what its model takes spelled out. Raises RequestError, UnknownNameError."""
        request = submission.request
        if request.upscale_images or request.interrogate_images:
            return submission
        await self.recognise_model(request.model)
        settled = await self.threads.run(partial(self.checkpoints.settled, request, self.extensions.families))
        return submission.model_copy(update={"request": settled})

    async def is_tapped(self, model: str | None) -> bool:
        """Whether a pipeline draws with that checkpoint, or with the one that is used where none is named. Raises
        CatalogueError."""
        await self.recognise_model(model)
        return await self.threads.run(partial(self.checkpoints.is_tapped, model, self.extensions.families))

    async def _model(self, request: GenerationRequest) -> str:
        """The checkpoint that a job draws with, where that says which of several devices suits it."""
        if len(self.dispatcher.workers) < 2:
            return ""
        with contextlib.suppress(UnknownNameError, OSError):
            families = self.extensions.families
            found = await self.threads.run(partial(self.checkpoints.drawn_with, request.model, families))
            return found.name
        return ""

    async def check(self, submission: Submission) -> Collection[str]:
        """Find out now what would fail later; the digests of its inputs. Raises as `submit` does."""
        request = submission.request
        inputs = named_inputs(request, await self._parts(request))
        await self.inputs.claim(inputs)
        styles = await self.threads.run(partial(styles_of, self.settings))
        for name in request.styles:
            find_style(name, styles)
        await self.threads.run(partial(self._find_files, request))
        await self.threads.run(partial(ready, (submission.saving or self.saving()).folder))
        return inputs

    async def _parts(self, request: GenerationRequest) -> Parts:
        try:
            return await self._found(request, (await self.extensions.now()).names)
        except (UnknownNameError, RequestError):
            if not self.extensions.is_looking:
                raise
            # an extension that is tried out may give it
            return await self._found(request, (await self.extensions.settled()).names)

    async def _found(self, request: GenerationRequest, names: PluginSet) -> Parts:
        named_interrogators(request.interrogator, names)
        if wants_upscaler(request.upscaler):
            await self.threads.run(partial(check_upscalers, request, names, library_of(self.settings)))
        if request.hires and not latent_upscaler(request):
            name, library = request.hires_upscaler, library_of(self.settings)
            await self.threads.run(partial(named_upscaler, name, names, library, field="hires_upscaler"))
        return choose_parts(request, names)

    def _find_files(self, request: GenerationRequest) -> None:
        """The checkpoints that a request names. Raises UnknownNameError."""
        library = library_of(self.settings)
        for field in ("model", "hires_model", "refiner"):
            if name := getattr(request, field):
                try:
                    library.find(name)
                except UnknownNameError as error:
                    error.field = field
                    raise

    async def retry(self, job: int, how: Retry) -> None:
        """Queue a failed job again. Raises FieldError, UnknownJobError, WrongStateError or CatalogueError."""
        if how.memory:
            plugins = (await self.extensions.now()).names
            try:
                for name in how.memory:
                    if "=" not in name:  # an option's value
                        plugins.optimizer(name)
            except UnknownNameError as error:
                raise FieldError("memory", str(error)) from error
        self.jobs.retry(job, how)

    def saving(self) -> Saving:
        return saving_of(self.settings)

    async def catalogue(self) -> Catalogue:
        """What plugins offer now. Raises CatalogueError."""
        return (await self.extensions.now()).catalogue

    async def recognise_model(self, name: str | None) -> None:
        """Ask the families of extensions about the checkpoint of that name if ours cannot draw with it, or about all
        where none is named. Raises CatalogueError."""
        with contextlib.suppress(UnknownNameError):  # which is said where it is drawn with
            if await self._is_usable(name):
                return
            await self.extensions.now()
            await self.recognise_models(name)
            if name is None or not self.extensions.is_looking or await self._is_usable(name):
                return
            await self.extensions.settled()  # an extension that is tried out may know it
            await self.recognise_models(name)

    async def _is_usable(self, name: str | None) -> bool:
        return await self.threads.run(partial(self.checkpoints.is_usable, name, self.extensions.families))

    async def recognise_models(self, name: str | None = None) -> None:
        """Ask the families of extensions about the checkpoints that ours cannot draw with. name: about that one alone.
        Raises UnknownNameError, CatalogueError."""
        await self.extensions.serving()
        if not (families := self.extensions.families):
            return
        unknown = await self.threads.run(partial(self.checkpoints.unknown, families, name))
        while unknown:
            some, unknown = unknown[:RECOGNISED_AT_ONCE], unknown[RECOGNISED_AT_ONCE:]
            known: Sequence[Recognition | None] = [None] * len(some)
            try:
                known = await self.extensions.recognise([checkpoint.path for checkpoint in some])
            except ProbeError as error:
                _log.warning("extensions cannot be asked about checkpoints: %s", error)
            for checkpoint, known_as in zip(some, known, strict=True):
                self.checkpoints.learn(families, checkpoint, known_as)

    def models(self) -> list[Model]:
        loaded = {name for worker in self.dispatcher.workers for name in (worker.model, *worker.kept)}
        return self.checkpoints.models(loaded, self.extensions.families)

    async def load_model(self, name: str) -> None:
        """Have a checkpoint read now. Raises FieldError, WrongStateError."""
        self.dispatcher.preload((await self.threads.run(partial(self.checkpoints.find, name))).path)

    async def hash_models(self, request: HashRequest) -> None:
        """Have the hashes computed of a model file, or of all of a kind that have none. Raises FieldError."""
        library = self.checkpoints.library
        if request.name is not None:
            self.hasher.add(
                [await self.threads.run(partial(model_files.file_of, library, request.kind, request.name))], asked=True
            )
        else:
            self.hasher.add(await self.threads.run(partial(model_files.without_hash, library, request.kind)))

    def styles(self) -> list[Style]:
        """What the styles files hold now. Raises StylesError."""
        read = styles_of(self.settings)
        return [Style(name=name, prompt=prompt, negative_prompt=other) for name, (prompt, other) in read.items()]

    def networks(self) -> Networks:
        """What prompts can call by name."""
        library = self.checkpoints.library
        tagged = {kind.tag: library.names(kind.id) for kind in MODEL_KINDS if kind.tag}
        return Networks(**tagged, embeddings=library.names("embedding"))

    def read_prompt(self, words: Words) -> PromptReading:
        """The traps in a prompt, and its tokens."""
        from sdterm.core.prompt.analysis import read_prompt
        from sdterm.core.prompt.plain import plain_words

        library = self.checkpoints.library
        called = {kind.tag: library.called(kind.id) for kind in MODEL_KINDS if kind.tag}
        if (counts := self.checkpoints.counts(words.model, words.text)) is not None:
            lints = plain_words(words.text, negative=words.negative, networks=called, counts=counts)
            first = [*counts][:1]
            return PromptReading(
                traps=_traps(lints), tokens=tuple(each.tokens for each in first), room=sum(each.room for each in first)
            )
        reading = read_prompt(
            words.text,
            words.steps,
            negative=words.negative,
            networks=called,
            embeddings=library.names("embedding"),
            family=self.checkpoints.family(words.model),
        )
        variants = [variant for part in reading.parts for variant in part.schedule]
        most = max(variants, key=lambda variant: sum(chunk.count for chunk in variant.chunks), default=None)
        chunks = most.chunks if most else ()
        return PromptReading(
            traps=_traps(reading.lint),
            tokens=tuple(chunk.count for chunk in chunks),
            room=sum(len(chunk.tokens) - 2 for chunk in chunks),
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(jobs=self.jobs.open(), queue=self.jobs.queue())


def _traps(lints: "Iterable[Lint]") -> tuple[Trap, ...]:
    return tuple(Trap(start=each.span[0], end=each.span[1], message=each.message, fix=each.fix) for each in lints)

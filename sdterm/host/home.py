"""Everything a host has, put together: what the API speaks to."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sdterm import __version__
from sdterm.core.catalogue import Catalogue
from sdterm.core.config import SETTINGS, Settings
from sdterm.core.dataroot import EMBEDDINGS, HYPERNETWORKS, LORAS
from sdterm.core.devices import devices_of
from sdterm.core.files import legible
from sdterm.core.jobs import (
    Health,
    Job,
    JobDetails,
    JobPage,
    Model,
    Networks,
    PromptReading,
    SettingView,
    Snapshot,
    State,
    Style,
    Submission,
    Trap,
    Words,
)
from sdterm.core.library import file_stems, library_of
from sdterm.core.names import UnknownNameError, find
from sdterm.core.output import Saving, ready, saving_of
from sdterm.core.place import Place
from sdterm.core.plan import choose_parts
from sdterm.core.styles import styles_of
from sdterm.host.checkpoints import Checkpoints
from sdterm.host.database import Database
from sdterm.host.dispatch import Dispatcher
from sdterm.host.extensions import Extensions
from sdterm.host.jobs import Jobs, UnknownJobError
from sdterm.host.log import EventLog
from sdterm.host.pictures import Pictures
from sdterm.host.threads import Threads
from sdterm.request import RequestError

THREADS, DISK_LIMIT = 16, 30.0
"""How many requests look at files at a time, and seconds that each may take."""
FAILED_TAPE_KEPT = 7 * 24 * 3600.0
"""Seconds."""


class Home:
    """One host's parts.

    clock: seconds since 1970; it may jump, and decides nothing but what is written down.
    """

    def __init__(self, settings: Settings, place: Place, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.place = settings, place
        self._started = clock()
        self._touched = time.monotonic()
        self._clock = clock
        self.threads = Threads(THREADS, DISK_LIMIT)
        devices = devices_of(settings["device"], os.environ)
        self.database = Database(place.database)
        self.log = EventLog(self.database, clock, self._snapshot)
        self.jobs = Jobs(self.database, self.log, clock)
        self.pictures = Pictures(self.database, self.log, clock)
        self.checkpoints = Checkpoints(settings, self.log)
        self.extensions = Extensions(
            settings,
            self.log,
            load=lambda sources: self.dispatcher.load_plugins(sources),
            adopted=lambda: self.dispatcher.try_again(),
        )
        self.dispatcher = Dispatcher(devices, settings, place, self.jobs, self.pictures, self.log, self.extensions)

    def recover(self) -> None:
        """Go on where the last host ended."""
        self.jobs.recover()
        if self.database.damaged:  # its jobs' tapes may be wanted by who mends it
            self.place.tapes.rename(self.database.damaged.with_suffix(".tapes"))
            self.place.tapes.mkdir(mode=0o700)
        for tape in self.place.tapes.glob("*.tape"):
            self._sweep(tape)
        self.extensions.sweep(self.jobs.generations())

    def _sweep(self, tape: Path) -> None:
        """Delete the tape of a job that never goes on, or failed so long ago that nobody will try it again."""
        try:
            job = self.jobs.job(int(tape.stem))
            if job.state == "failed" and self._clock() - (job.ended or 0) > FAILED_TAPE_KEPT:
                tape.unlink()
            self.dispatcher.forget_tape(job.id)
        except (ValueError, UnknownJobError):
            tape.unlink(missing_ok=True)
        except OSError:
            pass  # it stays until the next start

    def touch(self) -> None:
        """Somebody is there."""
        self._touched = time.monotonic()

    async def until_idle(self) -> None:
        """Wait until nobody has wanted anything for as long as the settings say."""
        limit = self.settings["idle_exit"]
        while True:
            if self.dispatcher.is_busy or self.checkpoints.is_busy or self.log.watching or self.jobs.waiting():
                self.touch()
            left = self._touched + limit - time.monotonic()
            if limit and left <= 0:
                return
            await asyncio.sleep(min(max(left, 1.0), 60.0) if limit else 3600.0)

    # --- what clients ask ---------------------------------------------------------------------------------------------

    def health(self) -> Health:
        return Health(
            version=__version__,
            pid=os.getpid(),
            data=str(self.settings.root),
            started=self._started,
            settings={s.key: legible(self.settings[s.key]) for s in SETTINGS if s.scope == "host"},
            workers=self.dispatcher.workers,
            queue=self.jobs.queue(),
            last_event=self.log.last,
            watching=self.log.watching,
            notices=self._notices(),
        )

    def job(self, job: int) -> Job:
        return self.jobs.job(job).model_copy(update={"progress": self.dispatcher.progress(job)})

    def details(self, job: int) -> JobDetails:
        return self.jobs.details(job).model_copy(update={"progress": self.dispatcher.progress(job)})

    def page(self, states: Sequence[State], limit: int, cursor: str | None) -> JobPage:
        page = self.jobs.page(states, limit, cursor)
        jobs = (job.model_copy(update={"progress": self.dispatcher.progress(job.id)}) for job in page.jobs)
        return page.model_copy(update={"jobs": tuple(jobs)})

    async def check(self, submission: Submission) -> None:
        """Find out now what would fail later. Raises UnknownNameError, RequestError, StylesError, CatalogueError or
        OutputFolderError."""
        request = submission.request
        try:
            choose_parts(request, (await self.extensions.now()).names)
        except (UnknownNameError, RequestError):
            if not self.extensions.is_looking:
                raise
            choose_parts(request, (await self.extensions.settled()).names)  # an extension that is tried out may give it
        styles = await self.threads.run(partial(styles_of, self.settings))
        for name in request.styles:
            find("style", name, {known: known for known in styles}, more=" They are read from styles.csv.")
        if request.model is not None:
            await self.threads.run(partial(library_of(self.settings).find, request.model))
        await self.threads.run(partial(ready, (submission.saving or self.saving()).folder))

    def saving(self) -> Saving:
        return saving_of(self.settings)

    async def catalogue(self) -> Catalogue:
        """What plugins offer now. Raises CatalogueError."""
        return (await self.extensions.now()).catalogue

    def models(self) -> list[Model]:
        return self.checkpoints.models({worker.model for worker in self.dispatcher.workers})

    async def load_model(self, name: str) -> None:
        """Have a checkpoint read now. Raises FieldError, WrongStateError."""
        self.dispatcher.preload((await self.threads.run(partial(self.checkpoints.find, name))).path)

    async def hash_model(self, name: str) -> None:
        """Have a checkpoint's SHA-256 computed. Raises FieldError."""
        self.checkpoints.compute_hash(await self.threads.run(partial(self.checkpoints.find, name)))

    def styles(self) -> list[Style]:
        """What the styles files hold now. Raises StylesError."""
        read = styles_of(self.settings)
        return [Style(name=name, prompt=prompt, negative_prompt=other) for name, (prompt, other) in read.items()]

    def networks(self) -> Networks:
        """What prompts can call by name."""
        root = self.settings.root
        return Networks(
            lora=tuple(file_stems(root / LORAS)),
            hypernet=tuple(file_stems(root / HYPERNETWORKS)),
            embeddings=tuple(file_stems(root / EMBEDDINGS)),
        )

    def read_prompt(self, words: Words) -> PromptReading:
        """The traps in a prompt, and its tokens."""
        from sdterm.core.prompt.reading import read_prompt

        there = self.networks()
        reading = read_prompt(
            words.text,
            words.steps,
            negative=words.negative,
            networks={"lora": there.lora, "hypernet": there.hypernet},
            embeddings=there.embeddings,
            family=self.checkpoints.family(words.model),
        )
        variants = [variant for part in reading.parts for variant in part.schedule]
        most = max(variants, key=lambda variant: sum(chunk.count for chunk in variant.chunks), default=None)
        chunks = most.chunks if most else ()
        return PromptReading(
            traps=tuple(Trap(start=t.span[0], end=t.span[1], message=t.message, fix=t.fix) for t in reading.lint),
            tokens=tuple(chunk.count for chunk in chunks),
            room=sum(len(chunk.tokens) - 2 for chunk in chunks),
        )

    def setting_views(self) -> list[SettingView]:
        return [
            SettingView(
                key=s.key,
                value=legible(self.settings[s.key]),
                source=self.settings.values[s.key].source,
                scope=s.scope,
                sentence=s.sentence,
            )
            for s in SETTINGS
        ]

    def _notices(self) -> tuple[str, ...]:
        if not self.database.damaged:
            return ()
        return (f"The queue's database was damaged and is kept as {self.database.damaged}; this one began empty.",)

    def _snapshot(self) -> Snapshot:
        return Snapshot(jobs=self.jobs.open(), queue=self.jobs.queue())

"""Everything a host has, put together: what the API speaks to."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sdterm import __version__
from sdterm.core.catalogue import Catalogue, load_catalogue
from sdterm.core.config import SETTINGS, Settings
from sdterm.core.dataroot import EMBEDDINGS, HYPERNETWORKS, LORAS
from sdterm.core.devices import devices_of
from sdterm.core.jobs import (
    Health,
    Job,
    JobDetails,
    JobPage,
    Model,
    PromptReading,
    SettingView,
    Snapshot,
    State,
    Submission,
    Trap,
    Words,
)
from sdterm.core.library import CheckpointFile, ModelFileError, file_stems, library_of
from sdterm.core.names import UnknownNameError, find
from sdterm.core.output import Saving, ready, saving_of
from sdterm.core.place import Place
from sdterm.core.plan import choose_parts, recognise
from sdterm.core.registry import PluginSet, load_plugins
from sdterm.core.styles import styles_of
from sdterm.events import ModelHashed, Warning
from sdterm.hooks import ModelFamily, PluginError
from sdterm.host.database import Database
from sdterm.host.dispatch import Dispatcher
from sdterm.host.jobs import Jobs, UnknownJobError
from sdterm.host.log import EventLog
from sdterm.host.pictures import Pictures

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
        self._families: dict[tuple[str, int, int], dict[str, Any]] = {}  # what each checkpoint file was found to be
        self._hashing: set[asyncio.Task[None]] = set()
        devices = devices_of(settings["device"], os.environ)
        self.database = Database(place.database)
        self.log = EventLog(self.database, clock, self._snapshot)
        self.jobs = Jobs(self.database, self.log, clock)
        self.pictures = Pictures(self.database, self.log, clock)
        self.dispatcher = Dispatcher(devices, settings, place, self.jobs, self.pictures, self.log)

    def recover(self) -> None:
        """Go on where the last host ended."""
        self.jobs.recover()
        if self.database.damaged:  # its jobs' tapes may be wanted by who mends it
            self.place.tapes.rename(self.database.damaged.with_suffix(".tapes"))
            self.place.tapes.mkdir(mode=0o700)
        for tape in self.place.tapes.glob("*.tape"):
            self._sweep(tape)

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
            if self.dispatcher.is_busy or self.log.watching or self.jobs.waiting():
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
            settings={s.key: self.settings[s.key] for s in SETTINGS if s.scope == "host"},
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
        plugins = (await self.catalogue()).names()
        request = submission.request
        choose_parts(request, plugins)
        for name in request.memory:
            plugins.optimizer(name)
        styles = await asyncio.to_thread(styles_of, self.settings)
        for name in request.styles:
            find("style", name, {known: known for known in styles}, more=" They are read from styles.csv.")
        if request.model is not None:
            await asyncio.to_thread(library_of(self.settings).find, request.model)
        await asyncio.to_thread(ready, (submission.saving or self.saving()).folder)

    def saving(self) -> Saving:
        return saving_of(self.settings)

    async def catalogue(self) -> Catalogue:
        """What plugins offer now. Raises CatalogueError."""
        load = partial(load_catalogue, self.settings.root, third_party=self.settings["extensions"])
        return await asyncio.to_thread(load)

    def models(self) -> list[Model]:
        library, found = library_of(self.settings), []
        loaded = {worker.model for worker in self.dispatcher.workers}
        for checkpoint in library.checkpoints():
            with contextlib.suppress(OSError):  # it went away in between
                found.append(
                    Model(
                        name=checkpoint.name,
                        path=str(checkpoint.path),
                        size=checkpoint.path.stat().st_size,
                        sha256=library.known_hash(checkpoint.path),
                        embedded=checkpoint.embedded,
                        loaded=checkpoint.name in loaded,
                        **self._recognised(checkpoint),
                    )
                )
        return found

    def _recognised(self, checkpoint: CheckpointFile) -> dict[str, Any]:
        """What a checkpoint is, by the families that ship with sdterm: no stranger's code runs here."""
        stat = checkpoint.path.stat()
        key = (str(checkpoint.path), stat.st_size, stat.st_mtime_ns)
        if key not in self._families:
            try:
                family, match = recognise(checkpoint, self._built_in)
                said = {"family": family.label, "native_size": match.native_size}
                self._families[key] = {**said, "usable": match.refusal is None, "note": match.refusal or ""}
            except (ModelFileError, PluginError) as error:
                self._families[key] = {"usable": False, "note": str(error)}
        return self._families[key]

    @cached_property
    def _built_in(self) -> PluginSet:
        return load_plugins(None, third_party=False)

    def read_prompt(self, words: Words) -> PromptReading:
        """The traps in a prompt, and its tokens."""
        from sdterm.core.prompt.reading import read_prompt

        root = self.settings.root
        reading = read_prompt(
            words.text,
            words.steps,
            negative=words.negative,
            networks={"lora": file_stems(root / LORAS), "hypernet": file_stems(root / HYPERNETWORKS)},
            embeddings=file_stems(root / EMBEDDINGS),
            family=self._family(words.model),
        )
        variants = [variant for part in reading.parts for variant in part.schedule]
        most = max(variants, key=lambda variant: sum(chunk.count for chunk in variant.chunks), default=None)
        chunks = most.chunks if most else ()
        return PromptReading(
            traps=tuple(Trap(start=t.span[0], end=t.span[1], message=t.message, fix=t.fix) for t in reading.lint),
            tokens=tuple(chunk.count for chunk in chunks),
            room=sum(len(chunk.tokens) - 2 for chunk in chunks),
        )

    def _family(self, model: str | None) -> ModelFamily | None:
        try:
            return recognise(library_of(self.settings).find(model), self._built_in)[0]
        except (ModelFileError, PluginError, UnknownNameError):
            return None

    async def preload(self, name: str) -> None:
        """Have a checkpoint read now. Raises UnknownNameError, ModelFileError."""
        self.dispatcher.preload((await self._checkpoint(name)).name)

    async def hash_model(self, name: str) -> None:
        """Compute a checkpoint's SHA-256: as long as reading it takes; an event tells. Raises UnknownNameError."""
        checkpoint = await self._checkpoint(name)

        async def work() -> None:
            try:
                digest = await asyncio.to_thread(library_of(self.settings).sha256, checkpoint.path)
            except OSError as error:
                said = f"{checkpoint.path} cannot be read: {error.strerror}."
                self.log.add(None, Warning(code="model_unreadable", message=said))
            else:
                self.log.add(None, ModelHashed(model=checkpoint.name, sha256=digest))

        task = asyncio.create_task(work())
        self._hashing.add(task)
        task.add_done_callback(self._hashing.discard)

    async def _checkpoint(self, name: str) -> CheckpointFile:
        return await asyncio.to_thread(library_of(self.settings).find, name)

    def setting_views(self) -> list[SettingView]:
        return [
            SettingView(
                key=s.key,
                value=self.settings[s.key],
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

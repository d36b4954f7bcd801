"""Observers are told what happens to a job: one after the other, between its images, and never at its expense."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from sdterm.core.extensions.registry import ContractError, PluginFailure, PluginSet
from sdterm.core.infotext.keys import is_free
from sdterm.core.text import printable
from sdterm.engine.failures import blamed
from sdterm.events import AnyPicture, Done, Event, Failed, Image, Warning
from sdterm.hooks import ImageFacts, JobOutcome, Observer, PluginError, SavedImage
from sdterm.messages import message, sentences

MOST_KEYS = 20
"""That one observer may add to an infotext."""
LONGEST_KEY, LONGEST_VALUE = 60, 1000  # characters
_LOOK = 0.1  # seconds between looks whether the reader of the events has left


@dataclass(frozen=True)
class Observers:
    """Those of a run. saved: where the reader of its events puts the path of each image and grid; without it, none is
    told to have been saved."""

    plugins: PluginSet
    prompt: str
    emit: Callable[[Event], None]
    saved: SimpleQueue[Path | None] | None
    has_left: threading.Event
    """Whether the reader of the events has."""
    began: float = field(default_factory=time.perf_counter)
    paths: list[Path] = field(default_factory=list)
    """Of what the job has saved, as far as it is told."""
    _told: set[tuple[str, str]] = field(default_factory=set)

    def after(self, event: AnyPicture) -> None:
        """An image was handed out: once it is saved, tell of it."""
        those = [observer for observer in self._all() if observer.on_image_saved or observer.on_job_finished]
        path = self._path() if those and self.saved else None
        if path is None:
            return
        self.paths.append(path)
        saved = SavedImage(path, event.infotext, event.width, event.height)
        if isinstance(event, Image):
            saved = SavedImage(path, event.infotext, event.width, event.height, event.index, event.seed, event.prompt)
        for observer in those:
            if observer.on_image_saved:
                with self._guarded(observer, "on_image_saved"):
                    observer.on_image_saved(saved)

    def finished(self, last: Event | Exception, images: int) -> None:
        """The run is about to end with this event."""
        message = str(last) if isinstance(last, Exception) else last.message if isinstance(last, Failed) else ""
        state: Literal["done", "failed", "stopped"] = "stopped"
        if not self.has_left.is_set():  # else nobody saved the rest
            state = "failed" if isinstance(last, Failed | Exception) else "done" if isinstance(last, Done) else state
        outcome = JobOutcome(
            state=state,
            images=images,
            saved=tuple(self.paths),
            seconds=time.perf_counter() - self.began,
            prompt=self.prompt,
            message=message,
        )
        for observer in self._all():
            if observer.on_job_finished:
                with self._guarded(observer, "on_job_finished"):
                    observer.on_job_finished(outcome)

    def keys(self, image: ImageFacts) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """What they add to an image's infotext; slug → what went wrong with one."""
        added: dict[str, str] = {}
        wrong: dict[str, str] = {}
        for observer in self._all():
            if observer.infotext:
                with self._guarded(observer, "infotext", wrong):
                    added |= _checked(observer.infotext(image), added, self.plugins)
        return added, wrong

    def _all(self) -> tuple[Observer, ...]:
        return self.plugins.all(Observer)

    def _path(self) -> Path | None:
        """Of what was just handed out; None if it could not be saved."""
        assert self.saved
        while not self.has_left.is_set():
            with contextlib.suppress(Empty):
                return self.saved.get(timeout=_LOOK)
        return None

    @contextlib.contextmanager
    def _guarded(self, observer: Observer, function: str, wrong: dict[str, str] | None = None) -> Iterator[None]:
        """What an observer raises is told, once a run for each of its functions."""
        slug = self.plugins.owner(observer)
        try:
            with self.plugins.guard(observer):
                yield
        except PluginError as error:
            said = printable(str(error), 500)
            if not isinstance(error, PluginFailure):
                label = printable(observer.label)
                said = message("The observer {label} of {slug}: {problem}", label=label, slug=slug, problem=said)
            if wrong is not None:
                wrong[slug] = said
            if (observer.id, function) not in self._told:
                self._told.add((observer.id, function))
                self.emit(Warning(code="observer_failed", message=sentences(said, _UNHARMED), source=blamed(error)))


_UNHARMED = message("The images are not affected.")


def _checked(given: object, taken: Mapping[str, str], plugins: PluginSet) -> dict[str, str]:
    """The keys that an observer adds, and their values without what a terminal would obey. Raises ContractError."""
    if not isinstance(given, Mapping):
        raise ContractError(message("it returned no mapping of keys"))
    if len(given) > MOST_KEYS:
        raise ContractError(
            message("it returned {number:,} keys; the limit is {limit}", number=len(given), limit=MOST_KEYS)
        )
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ContractError(
                message(
                    "it returned {key} with a value of type {type}; both must be text",
                    key=printable(repr(key), 60),
                    type=type(value).__name__,
                )
            )
        if len(key) > LONGEST_KEY or not is_free(key, plugins):
            raise ContractError(
                message(
                    "it returned the key '{key}', which is not allowed or already has a meaning", key=printable(key, 60)
                )
            )
        if key in taken:
            raise ContractError(message("it returned the key '{key}', which another observer already uses", key=key))
    return {key: printable(value, LONGEST_VALUE) for key, value in given.items() if value}

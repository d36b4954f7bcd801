"""A job that is drawn, told in a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sdterm.api import Entry
from sdterm.cli.output import told
from sdterm.cli.plain.words import duration
from sdterm.core.settings.settings import Settings
from sdterm.events import Cancelled, Done, Event, Failed, Image, ModelLoading, Paused, Started, Step
from sdterm.tui.language import said, tr
from sdterm.tui.progress import after
from sdterm.tui.state import State

_EVERY = 5.0
"""Seconds after which something is said again."""
_AT_MOST_EVERY = 1.0
"""Seconds that pass at least between two quarters: a listener is not to be drowned."""


class SpokenOutput:
    """Says each quarter of the way, and something every five seconds."""

    wants_previews = False

    def __init__(self, job: int, settings: Settings, say: Callable[[str], None]) -> None:
        self._job, self._settings, self._say = job, settings, say
        self._state, self._images, self._saved = State(), 1, 0
        self._quarter, self._last = 0, float("-inf")
        self.end: Event | None = None
        """What ended it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        self._state = after(self._state, Entry(number=0, at=time.time(), job=self._job, event=event))
        match event:
            case ModelLoading(model=model, fraction=fraction, done=False):
                self._load(model, fraction)
            case Step():
                self._step(event)
            case Image(path=None):  # it stays on another machine
                self._saved += 1
            case Image(path=path):
                self._saved += 1
                self._say(
                    tr("Image {number} of {count} is saved: {path}", number=self._saved, count=self._images, path=path)
                    if self._images > 1
                    else tr("The image is saved: {path}", path=path)
                )
            case Done(seconds=seconds):
                self._say(tr("Job {job} is done in {time}.", job=self._job, time=duration(seconds)))
            case _:
                if isinstance(event, Started):
                    self._images = event.images
                for sentence in told(event, self._settings):
                    self._say(said(sentence))
        if isinstance(event, Done | Failed | Cancelled | Paused):
            self.end = event

    def _load(self, model: str, fraction: float | None) -> None:
        if time.monotonic() - self._last < _EVERY:
            return
        self._last = time.monotonic()
        if fraction:
            self._say(tr("Loading {model}: {percent} percent.", model=model, percent=round(100 * fraction)))
        else:
            self._say(tr("Loading {model}.", model=model))

    def _step(self, step: Step) -> None:
        run = self._state.run_of(self._job)
        if run is None:
            return
        quarter, passed = int(4 * run.share), time.monotonic() - self._last
        if quarter == 4 or passed < _AT_MOST_EVERY or (quarter == self._quarter and passed < _EVERY):
            return
        self._quarter, self._last = quarter, time.monotonic()
        values = {"percent": round(100 * run.share), "step": step.step, "steps": step.steps}
        if run.left is None or run.left < 1:
            self._say(tr("{percent} percent: step {step} of {steps}.", **values))
        else:
            self._say(tr("{percent} percent: step {step} of {steps}, {time} left.", **values, time=duration(run.left)))

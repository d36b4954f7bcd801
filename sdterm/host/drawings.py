"""Who draws which images of a job: one process all of them, or several a share each."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sdterm.events import Cancelled, Paused
from sdterm.host.worker import WorkerProcess


@dataclass(eq=False)
class Part:
    """What one process draws of a job."""

    worker: WorkerProcess
    number: int
    """From 1: the smallest that no other part has. It names the part's tape."""
    given: frozenset[int] | None
    """The images that it was given; None is all that were left."""
    images: set[int] = field(default_factory=set)
    """Those that it has yet to draw, as soon as they are known."""
    has_begun: bool = False
    may_give: bool = False
    """Whether it may have batches that have not begun."""
    asked: asyncio.Future[None] | None = None
    """It was asked to give some up: done once it has answered, or ended."""


@dataclass(eq=False)
class Drawing:
    """A job that is drawn now.

    began: seconds of a clock that never jumps. hardware: what it is drawn on; another kind computes other bits.
    """

    job: int
    began: float
    spreads: bool = False
    """Whether several may draw at it."""
    hardware: str | None = None
    is_shared: bool = False
    """Whether several have drawn at it: then no part alone has all that ends a job."""
    is_closing: bool = False
    """All is drawn, and a last run makes of it what comes at the end."""
    images: set[int] | None = None
    """Those that are not saved yet, once it is known which images it has."""
    standing: set[int] = field(default_factory=set)
    """Of these, those that stand at the step at which the job is to pause."""
    drawn: dict[int, Path] = field(default_factory=dict)
    """Those that were saved since it began."""
    parts: list[Part] = field(default_factory=list)
    barred: set[WorkerProcess] = field(default_factory=set)
    """Processes that failed at it while others went on."""
    stopped: Paused | Cancelled | None = None
    """How a part ended that was stopped, while others went on."""

    def begin(self, worker: WorkerProcess, images: Collection[int] | None) -> Part:
        """A new part. images: unset, all that are left."""
        used = {part.number for part in self.parts}
        number = next(number for number in range(1, len(used) + 2) if number not in used)
        given = None if images is None else frozenset(images)
        part = Part(worker, number, given, set(given or self.loose()))
        self.is_shared |= bool(self.parts)
        self.parts.append(part)
        self.hardware = worker.hardware
        return part

    def known(self, images: Collection[int]) -> None:
        """It has these images to draw."""
        if self.images is None:
            self.images = set(images)
            for part in self.parts:
                part.images = set(images)  # there is but one as long as nobody knows

    def saved(self, image: int, path: Path) -> None:
        self.drawn[image] = path
        (self.images or set()).discard(image)
        for part in self.parts:
            part.images.discard(image)

    def released(self, worker: WorkerProcess, images: Collection[int]) -> None:
        """A process gives these up. None: it has no batch more that has not begun."""
        self.is_shared |= bool(images)
        for part in self.parts:
            if part.worker is worker:
                part.images -= {*images}
                part.may_give &= bool(images)
                _answered(part)

    def leave(self, worker: WorkerProcess, *, standing: bool = False) -> None:
        """Its part has ended. standing: what is left of it waits where it is."""
        for part in [part for part in self.parts if part.worker is worker]:
            self.standing |= part.images if standing else set()
            self.parts.remove(part)
            _answered(part)

    def loose(self) -> set[int]:
        """The images that nobody draws, and somebody has to."""
        taken = set().union(*(part.images for part in self.parts))
        return (self.images or set()) - taken - self.standing

    def giver(self) -> Part | None:
        """The part with the most images left, of those that may give some up."""
        able = [part for part in self.parts if part.may_give and len(part.images) > 1]
        return max(able, key=lambda part: len(part.images), default=None)


def _answered(part: Part) -> None:
    if part.asked and not part.asked.done():
        part.asked.set_result(None)

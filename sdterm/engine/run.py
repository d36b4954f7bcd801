"""A run: a request on its way through the stages, each of which is a function of it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.planning.choices import Choices, Chosen
from sdterm.core.planning.networks import NetworkPlan
from sdterm.core.planning.plan import Plan
from sdterm.engine.faults import Faults
from sdterm.engine.network_files import Sources
from sdterm.engine.observers import Observers
from sdterm.engine.pulse import Pulse
from sdterm.engine.schedule import Way
from sdterm.engine.tape import Tape
from sdterm.events import Event, Warning
from sdterm.hooks import MemoryOptimizer
from sdterm.request import GenerationRequest

Optimizer = Chosen[MemoryOptimizer]


@dataclass(frozen=True)
class Resume:
    """A job that goes on: what was settled before, which nothing that changed since reaches."""

    plan: Plan
    saved: Mapping[int, Path] = field(default_factory=dict)
    """Image → its file: not drawn again, and shown in the grid."""
    skipped_images: frozenset[int] = frozenset()
    """Images that nobody wants any more."""


@dataclass(frozen=True)
class PauseAt:
    """The step at which every image waits for another run to go on."""

    step: int
    pass_no: int = 0


@dataclass(frozen=True)
class Run:
    """What was asked, what was settled, and what its stages work with. Opening it finds out the last three."""

    request: GenerationRequest
    plugins: PluginSet
    choices: Choices
    plan: Plan
    device: torch.device
    dtype: torch.dtype
    pulse: Pulse
    emit: Callable[[Event], None]
    observers: Observers
    cancel: threading.Event = field(default_factory=threading.Event)
    pause_at: PauseAt | None = None
    previews: bool = False
    began: float = 0.0
    saved: Mapping[int, Path | None] = field(default_factory=dict)
    """Images of earlier runs, with their files where those are known."""
    skipped_images: frozenset[int] = frozenset()
    faults: Faults = field(default_factory=Faults)
    optimizers: tuple[Optimizer, ...] = ()
    """Those that the model is loaded with."""
    networks: Sources = field(default_factory=dict)
    """The files of those that the plan has."""
    ways: tuple[Way, ...] = ()
    """Of each pass."""
    tape: Tape = field(default_factory=lambda: Tape({}))

    @property
    def sigmas(self) -> tuple[torch.Tensor, ...]:
        """Those of each pass: float32 [steps + 1], on the CPU."""
        return tuple(way.sigmas for way in self.ways)

    def warn(self, warning: Warning, *, keep: bool = True) -> None:
        """Say what went wrong with a plugin, once. keep: it concerns all images from now on."""
        self.faults.tell(warning, self.emit, keep=keep)

    def is_settled(self, index: int) -> bool:
        """Whether an image need not be drawn."""
        return index in self.saved or index in self.skipped_images

    def batches(self) -> list[list[int]]:
        """The images still to draw, by index, as they are drawn together; empty where all are settled."""
        return [[index for index in batch if not self.is_settled(index)] for batch in self.together()]

    def together(self) -> list[list[int]]:
        """All images, by index, as they are drawn together: batches, parted where images call other networks."""
        size = 1 if self.choices.sampler.batch_coupled else self.request.batch_size
        images = self.plan.images
        found: list[list[int]] = []
        for first in range(0, len(images), size):
            alike: dict[tuple[NetworkPlan, ...], list[int]] = {}
            for index in range(first, min(first + size, len(images))):
                alike.setdefault(images[index].networks, []).append(index)
            found += alike.values()
        return found

"""A run: a request on its way through the stages, each of which is a function of it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.inputs import Inputs
from sdterm.core.planning.choices import Choices, ChosenModel
from sdterm.core.planning.ladder import Optimizer
from sdterm.core.planning.networks import NetworkPlan
from sdterm.core.planning.plan import ModelPlan, Plan
from sdterm.engine.cut import Cut
from sdterm.engine.faults import Faults
from sdterm.engine.meter import Meter
from sdterm.engine.network_files import Sources
from sdterm.engine.observers import Observers
from sdterm.engine.pulse import Pulse
from sdterm.engine.share import Share
from sdterm.engine.tape import Tape
from sdterm.engine.upscale import KeptUpscaler
from sdterm.events import Event, Warning
from sdterm.fields import Rung
from sdterm.hooks import Start
from sdterm.request import GenerationRequest


@dataclass(frozen=True)
class Resume:
    """A job that goes on: what was settled before, which nothing that changed since reaches."""

    plan: Plan
    saved: Mapping[int, Path] = field(default_factory=dict)
    """Image → its file: not drawn again, and shown in the grid."""
    skipped_images: frozenset[int] = frozenset()
    """Images that nobody wants any more."""


@dataclass(frozen=True)
class FirstPass:
    """Where another job's tapes have the first pass of this one's image."""

    image: int
    tapes: tuple[Path, ...]
    """One of them has it."""


@dataclass(frozen=True)
class PauseAt:
    """The step at which every image waits for another run to go on."""

    step: int
    pass_no: int = 0


Transform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Approximations:
    """What stands in for the model's own ways between latents and pixels, both float32 batches; None: nothing does."""

    decode: Transform | None = None
    encode: Transform | None = None
    preview: Transform | None = None


@dataclass(frozen=True)
class Wanted:
    """A model to draw with: its files as they were planned, and as they were found."""

    plan: ModelPlan
    found: ChosenModel
    start: Start = "noise"
    """What the pass begins with that it is for."""


@dataclass(frozen=True)
class Run:
    """What was asked, what was settled, and what its stages work with. Opening it finds out the last."""

    request: GenerationRequest
    plugins: PluginSet
    choices: Choices
    plan: Plan
    device: torch.device
    dtype: torch.dtype
    pulse: Pulse
    emit: Callable[[Event], None]
    observers: Observers
    inputs: Inputs
    cancel: threading.Event = field(default_factory=threading.Event)
    cut: Cut = field(default_factory=Cut)
    """What of it is to come as it stands."""
    pause_at: PauseAt | None = None
    previews: bool = False
    began: float = 0.0
    saved: Mapping[int, Path | None] = field(default_factory=dict)
    """Images of earlier runs, with their files where those are known."""
    skipped_images: frozenset[int] = frozenset()
    faults: Faults = field(default_factory=Faults)
    optimizers: tuple[Optimizer, ...] = ()
    """Those that the model is loaded with."""
    rungs: tuple[Rung, ...] = ()
    """The steps of the ladder that it has gone down."""
    networks: Sources = field(default_factory=dict)
    """The files of those that the plan has."""
    approximations: Approximations = Approximations()
    tape: Tape = field(default_factory=lambda: Tape({}))
    share: Share = field(default_factory=Share)
    """Which of the images are drawn here."""
    upscaler: KeptUpscaler = field(default_factory=KeptUpscaler)
    """The one in memory."""
    meter: Meter | None = None
    """What measures its memory."""
    cache: Path | None = None
    """Where to keep what need not be found out again."""

    def warn(self, warning: Warning, *, keep: bool = True) -> None:
        """Say what went wrong with a plugin, once. keep: it concerns all images from now on."""
        self.faults.tell(warning, self.emit, keep=keep)

    def model_of(self, pass_no: int) -> Wanted:
        """What a pass is drawn with."""
        start = self.plan.passes[pass_no].start
        return Wanted(self.plan.model_of(pass_no), self.choices.passes[pass_no].model, start)

    def refiner_of(self, pass_no: int) -> Wanted | None:
        """What takes over in a pass, if anything does."""
        planned, found = self.plan.passes[pass_no], self.choices.passes[pass_no].refiner
        return Wanted(planned.refiner, found, planned.start) if planned.refiner and found else None

    def is_settled(self, index: int) -> bool:
        """Whether an image need not be drawn."""
        return index in self.saved or index in self.skipped_images

    def batches(self) -> list[list[int]]:
        """The images still to draw, by index, as they are drawn together; empty where all are settled."""
        return [[index for index in batch if not self.is_settled(index)] for batch in self.together()]

    def together(self) -> list[list[int]]:
        """All images, by index, as they are drawn together: batches, parted where images call other networks."""
        passes = range(len(self.plan.passes))
        size = 1 if any(each.sampler.batch_coupled for each in self.choices.passes) else self.request.batch_size
        images = self.plan.images
        found: list[list[int]] = []
        for first in range(0, len(images), size):
            alike: dict[tuple[tuple[NetworkPlan, ...], ...], list[int]] = {}
            for index in range(first, min(first + size, len(images))):
                called = tuple(self.plan.text_of(index, pass_no).networks for pass_no in passes)
                alike.setdefault(called, []).append(index)
            found += alike.values()
        return found

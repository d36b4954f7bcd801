"""The engine: prepare, load, encode, sample, decode, as one stream of events."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from queue import Full, Queue, SimpleQueue
from typing import Any

import torch

from sdterm.core.extensions.kinds import Descriptor
from sdterm.core.extensions.registry import PluginSet
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.choices import Choices, choose, choose_pictures
from sdterm.core.planning.memory import Measurements
from sdterm.core.planning.pipelines import COMPLETED, completed, lost_settings
from sdterm.core.planning.plan import choose_again, prepare, prepare_pictures
from sdterm.core.prompt.styles import Styles
from sdterm.core.settings.paths import data_root
from sdterm.engine.cut import Cut
from sdterm.engine.device import free_unused, pick_device, pick_dtype, reset_peak, set_deterministic
from sdterm.engine.drawing import draw
from sdterm.engine.failures import failure
from sdterm.engine.header import recorded_seeds
from sdterm.engine.interrogate import describe_pictures
from sdterm.engine.isolation import isolated
from sdterm.engine.ladder import begun, going_down
from sdterm.engine.limit import Limit
from sdterm.engine.loading import Loader, Model, choose_optimizers
from sdterm.engine.memory import Outlook, outlook
from sdterm.engine.meter import Meter
from sdterm.engine.observers import Observers
from sdterm.engine.opening import open_run
from sdterm.engine.pictures import PictureRun, enlarge_pictures, sources
from sdterm.engine.pulse import Pulse
from sdterm.engine.run import FirstPass, PauseAt, Resume, Run
from sdterm.engine.share import Share
from sdterm.engine.sources import Sources
from sdterm.engine.tape import Tape
from sdterm.engine.upscale import KeptUpscaler, Upscaling
from sdterm.events import (
    OUT_OF_MEMORY,
    AnyPicture,
    Cancelled,
    Done,
    Event,
    Failed,
    Image,
    ModelLoading,
    Paused,
    SideImage,
    Warning,
)
from sdterm.hooks import Pipeline
from sdterm.messages import message
from sdterm.request import GenerationRequest

AHEAD = 64
"""Events that may wait for their reader; then the run does."""
_LOOK = 0.1  # seconds between looks whether the reader of a full queue has left


class Engine:
    """Draws requests on one device, keeping the last models in memory. One run at a time.

    library: where checkpoints are found; device: `cpu`, `cuda:1` …, unset for the best there is (DeviceError if it is
    not there); models: how many are kept; others_in_ram: those that are not in use leave the GPU; limit_memory: that it
    may use, like `3GB`.
    """

    def __init__(
        self,
        *,
        library: Library | None = None,
        device: str | None = None,
        models: int = 1,
        others_in_ram: bool = True,
        limit_memory: str | None = None,
    ) -> None:
        self.device = pick_device(device)
        self._limit = Limit.of(self.device, limit_memory)
        self.library = library or Library(data_root(None, os.environ))
        self._meter = Meter(self.device, self._limit, Measurements(self.library.root))
        self._pulse = Pulse()
        self._loader = Loader(self.device, models, others_in_ram=others_in_ram)
        self._upscaler = KeptUpscaler()
        set_deterministic()

    @property
    def pulse(self) -> Pulse:
        """What it is at, now."""
        return replace(self._pulse)

    @property
    def model(self) -> Model | None:
        """The one in memory."""
        return self._loader.model

    def run(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        *,
        styles: Styles | None = None,
        tape: Path | None = None,
        previews: bool = False,
        cancel: threading.Event | None = None,
        cut: Cut | None = None,
        resume: Resume | None = None,
        pause_at: PauseAt | None = None,
        saved: SimpleQueue[Path | None] | None = None,
        first_pass: FirstPass | None = None,
        share: Share | None = None,
        other_tapes: Sequence[Path] = (),
    ) -> Generator[Event, None, None]:
        """Draw a request. The events end with one of `done`, `failed`, `paused` or `cancelled`.

        styles: the user's named prompts. tape: a file that records every network call; a run with the same request
        and tape goes on where the last one stopped. Without it the tape is in memory. cancel: set it to stop within one
        network call; closing the iterator before its end does too, and sets it. cut: by which the batch that is being
        sampled can be had as it stands. resume: the plan of an earlier run to
        go on with, instead of making one. pause_at: the step at which every image waits for another run to go on.
        saved: where the reader puts the path of each image and grid once it is saved (None if it cannot be), before it
        asks for the next event: observers are told of them. first_pass: where another job's tape has what this one's
        only image begins with; it is drawn again if that is not there. share: which images are drawn here, where other
        processes draw at the same job; other_tapes: what else has recorded some of the job's images.
        """
        cancel, plugins, share = cancel or threading.Event(), self._watched(plugins), share or Share()
        events: Queue[Event | Exception | None] = Queue(AHEAD)
        left, ended = threading.Event(), False  # whether the reader has left, or has seen all
        opened: list[Tape] = []  # the job's tape, once there is one

        def emit(event: Event | Exception | None) -> None:
            while not left.is_set():
                with contextlib.suppress(Full):
                    events.put(event, timeout=_LOOK)
                    return

        observers = Observers(plugins, request.prompt, emit, saved, left, paths=[*share.drawn.values()])
        images = len(share.drawn)

        def tell(event: Event | Exception) -> None:
            nonlocal images
            is_end = isinstance(event, Exception | Failed | Paused | Cancelled) and share.began_whole
            if is_end or (isinstance(event, Done) and not share.is_part):
                observers.finished(event, images)
            emit(event)
            if isinstance(event, AnyPicture):
                images += isinstance(event, Image)
                observers.after(event)

        def run_all() -> None:
            if request.interrogate_images:
                parts = request, plugins, self.library, self.device, self._pulse, cancel, tell
                with torch.inference_mode():
                    describe_pictures(*parts, self._free_models)
                return
            if request.upscale_images:
                with torch.inference_mode():
                    enlarge_pictures(self._pictures(request, plugins, cancel, resume, tell))
                return
            run = self._settled(request, plugins, styles or {}, tape, resume, observers, tell)
            run = replace(run, cancel=cancel, cut=cut or Cut(), pause_at=pause_at, previews=previews, share=share)
            with _computing(run.choices):
                run = open_run(run, self._loader, self.library, tape, first_pass, other_tapes)
                opened.append(run.tape)
                if not resume:  # else whoever has the images says which
                    run = replace(run, saved=dict.fromkeys(run.tape.finished()))
                draw(run, self._loader, Sources(run.inputs))

        def work() -> None:
            try:
                failed: Exception | Failed | None = None
                try:
                    with self._limit.held:
                        run_all()
                except Exception as error:
                    failed = failure(error) or error
                if isinstance(failed, Failed) and failed.code == OUT_OF_MEMORY:
                    free_unused(self.device)  # the error is gone, and with it what its frames held
                if failed:
                    tell(failed)
            finally:
                self._pulse.rest()
                emit(None)

        thread = threading.Thread(target=work, name="engine", daemon=True)
        thread.start()
        try:
            while (event := events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Image | SideImage) and opened:  # noted only now: whoever reads the events has it
                    with contextlib.suppress(OSError):  # a note that cannot be written costs making it again
                        _note(opened[0], event)
            ended = True
        finally:
            left.set()
            if not ended:
                cancel.set()
            thread.join()
            for done_with in opened:
                done_with.close()

    def preload(self, request: GenerationRequest, plugins: PluginSet, emit: Callable[[Event], None]) -> None:
        """Read the model that this request is drawn with, so that drawing need not. Raises what cannot be loaded; see
        `failures`."""
        was_read = False

        def noticed(event: Event) -> None:
            nonlocal was_read
            was_read |= isinstance(event, ModelLoading)
            emit(event)

        plugins = self._watched(plugins)
        try:
            observers = Observers(plugins, request.prompt, emit, None, threading.Event())
            run = self._settled(request, plugins, {}, None, None, observers, noticed)
            optimizers, _ = choose_optimizers(run.choices, plugins, self.device, run.dtype)
            run = begun(replace(run, optimizers=optimizers))
            with self._limit.held, _computing(run.choices):
                going_down(run, self._loader, self._loader.load_as_asked)
            if not was_read:  # it was there, and whoever waits is told so
                emit(ModelLoading(model=run.plan.model, done=True, kept=self._loader.kept))
        finally:
            self._pulse.rest()

    def forecast(self, request: GenerationRequest, plugins: PluginSet, styles: Styles | None = None) -> Outlook:
        """What a request would need of the device's memory, on each step down the ladder. Nothing is loaded. Raises
        what cannot be drawn; see `failures`."""
        plugins = self._watched(plugins)
        observers = Observers(plugins, request.prompt, lambda event: None, None, threading.Event())
        try:
            run = self._settled(request, plugins, styles or {}, None, None, observers, lambda event: None)
            optimizers, _ = choose_optimizers(run.choices, plugins, self.device, run.dtype)
            return outlook(begun(replace(run, optimizers=optimizers)))
        finally:
            self._pulse.rest()

    def _free_models(self) -> bool:
        had = self._loader.model is not None or bool(self._loader.kept)
        self._loader.unload()
        return had

    def unload(self) -> None:
        """Let go of all models."""
        self._upscaler.loaded = None
        self._loader.unload()

    def _settled(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        styles: Styles,
        tape: Path | None,
        resume: Resume | None,
        observers: Observers,
        emit: Callable[[Event], None],
    ) -> Run:
        """A run with all names found and its plan fixed; nothing is loaded."""
        began, self._pulse.phase = time.perf_counter(), "prepare"
        reset_peak(self.device)
        self._meter.highest = 0
        if resume:
            choices, plan = choose_again(resume.plan, plugins, self.library), resume.plan
            kept = {name: getattr(plan.request, name) for name in COMPLETED}
            rungs = tuple(dict.fromkeys((*plan.request.rungs, *request.rungs)))
            request = request.model_copy(update={**kept, "rungs": rungs})
        else:
            choices = choose(request, plugins, self.library)
            if facts := choices.first.model.facts:
                request = completed(request, facts, choices.first.model.checkpoint.name)
            plan = prepare(request, choices, plugins, self.library, styles, **recorded_seeds(tape, request))
        run = Run(
            request=request,
            plugins=plugins,
            choices=choices,
            plan=plan,
            device=self.device,
            dtype=pick_dtype(self.device, request.precision, wide=_is_wide(choices)),
            pulse=self._pulse,
            emit=emit,
            observers=observers,
            inputs=Inputs(self.library.root),
            began=began,
            saved=resume.saved if resume else {},
            skipped_images=resume.skipped_images if resume else frozenset(),
            upscaler=self._upscaler,
            meter=self._meter,
            cache=self.library.root / "cache",
        )
        first = choices.first.model
        if first.facts and (lost := lost_settings(plan.request, first.facts)):
            said = message(
                "{model} has none of these settings, so they are ignored: {settings}.",
                model=first.checkpoint.name,
                settings=", ".join(lost),
            )
            run.warn(Warning(code="not_taken", message=said), keep=False)
        return run

    def _pictures(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        cancel: threading.Event,
        resume: Resume | None,
        emit: Callable[[Event], None],
    ) -> PictureRun:
        """The same of a request that only makes pictures larger."""
        began, self._pulse.phase = time.perf_counter(), "prepare"
        inputs = Inputs(self.library.root)
        choices = choose_pictures(request, plugins, self.library, resume.plan.upscalers if resume else ())
        tile, overlap = request.upscale_tile, request.upscale_overlap
        return PictureRun(
            request=request,
            choices=choices,
            plan=resume.plan if resume else prepare_pictures(request, choices, self.library, sources(request, inputs)),
            upscaling=Upscaling(plugins, self.device, tile, overlap, cancel, kept=self._upscaler),
            inputs=inputs,
            pulse=self._pulse,
            emit=emit,
            free=self._free_models,
            saved=resume.saved if resume else {},
            skipped_images=resume.skipped_images if resume else frozenset(),
            began=began,
        )

    def _watched(self, plugins: PluginSet) -> PluginSet:
        """The same plugins: the pulse tells whose code is running, and that leaves the process as it was."""
        return replace(plugins, around=self._around)

    @contextlib.contextmanager
    def _around(self, part: Descriptor, slug: str) -> Iterator[None]:
        outer, self._pulse.plugin = self._pulse.plugin, slug
        try:
            with contextlib.nullcontext() if outer else isolated(part, self.device):
                yield
        finally:
            self._pulse.plugin = outer


def _computing(choices: Choices) -> AbstractContextManager[Any]:
    """Nothing is learned here. What a pipeline computes keeps its version, by which its tape knows it again, and which
    inference mode does not count."""
    return torch.no_grad() if isinstance(choices.first.model.family, Pipeline) else torch.inference_mode()


def _is_wide(choices: Choices) -> bool:
    """Whether a model's numbers are too large for float16: so are those of rectified flow's transformers, which were
    trained in bfloat16."""
    return any(
        isinstance(each.model.family, Pipeline) and each.model.match.process == "flow" for each in choices.passes
    )


def _note(tape: Tape, delivered: Image | SideImage) -> None:
    if isinstance(delivered, Image):
        tape.finish(delivered.index)
    else:
        tape.deliver(delivered.index, delivered.kind)

"""The engine: prepare, load, encode, sample, decode, as one stream of events."""

import contextlib
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Full, Queue, SimpleQueue
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sdterm.core.extensions.kinds import Descriptor
from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.infotext.write import image_infotext
from sdterm.core.library.checkpoints import Library, file_stems
from sdterm.core.planning.choices import Choices, choose
from sdterm.core.planning.plan import Plan, choose_again, prepare
from sdterm.core.prompt.embeddings import find_embeddings
from sdterm.core.prompt.networks import extract
from sdterm.core.prompt.styles import Styles
from sdterm.core.settings.paths import EMBEDDINGS, data_root
from sdterm.core.text import printable
from sdterm.engine.decode import BlackImageError, decode_image
from sdterm.engine.device import memory_use, pick_device, pick_dtype, reset_peak, set_deterministic
from sdterm.engine.failures import blamed, failure
from sdterm.engine.faults import Faults
from sdterm.engine.grid import Cell, emit_grid, makes_grid
from sdterm.engine.isolation import isolated
from sdterm.engine.loading import (
    Model,
    Optimizer,
    OptimizerError,
    UndoError,
    can_switch,
    choose_optimizers,
    load_model,
    skipped_warning,
    with_optimizers,
)
from sdterm.engine.observers import Observers
from sdterm.engine.postprocess import postprocessed
from sdterm.engine.preview import colours
from sdterm.engine.recorder import CancelledError, NonFiniteError, PausedError
from sdterm.engine.run import Resume, Run, encoded, facts_of, header, record_of, recorded_seeds
from sdterm.engine.sample import Progress, in_the_network, noise_levels, paused_previews, sample_batch
from sdterm.engine.schedule import run_sigmas
from sdterm.engine.tape import Tape
from sdterm.events import Cancelled, Done, Event, Failed, Grid, Image, ModelLoading, Paused, Started, Warning
from sdterm.hooks import OutputSaver
from sdterm.request import GenerationRequest

TOLD_EVERY = 0.5
"""Seconds between two words on how far the reading of weights is."""
AHEAD = 64
"""Events that may wait for their reader; then the run does."""
_LOOK = 0.1  # seconds between looks whether the reader of a full queue has left

Phase = Literal["idle", "prepare", "load", "sample", "decode"]
"""`load` while weights are read; what else comes before the first step is `prepare`."""


@dataclass(frozen=True)
class Pulse:
    """What the engine is at: whoever watches it tells a long call from a stuck one."""

    phase: Phase = "idle"
    call: int = 0
    """Network calls done in this run."""
    plugin: str | None = None
    """The slug of the plugin whose code is running."""


class Engine:
    """Draws requests on one device, keeping the last model in memory. One run at a time.

    library: where checkpoints are found; device: `cpu`, `cuda:1` …, unset for the best there is (DeviceError if it is
    not there).
    """

    def __init__(self, *, library: Library | None = None, device: str | None = None) -> None:
        self.device = pick_device(device)
        self.library = library or Library(data_root(None, os.environ))
        self._phase: Phase = "idle"
        self._call = 0  # told by the tape's thread
        self._plugin: str | None = None
        self._model: Model | None = None
        set_deterministic()

    @property
    def pulse(self) -> Pulse:
        return Pulse(self._phase, self._call, self._plugin)

    def run(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        *,
        styles: Styles | None = None,
        tape: Path | None = None,
        previews: bool = False,
        cancel: threading.Event | None = None,
        resume: Resume | None = None,
        pause_at: int | None = None,
        saved: SimpleQueue[Path | None] | None = None,
    ) -> Generator[Event, None, None]:
        """Draw a request. The events end with one of `done`, `failed`, `paused` or `cancelled`.

        styles: the user's named prompts. tape: a file that records every network call; a run with the same request
        and tape goes on where the last one stopped. Without it the tape is in memory. cancel: set it to stop within one
        network call; closing the iterator before its end does too, and sets it. resume: the plan of an earlier run to
        go on with, instead of making one. pause_at: the step at which every image waits for another run to go on.
        saved: where the reader puts the path of each image and grid once it is saved (None if it cannot be), before it
        asks for the next event: observers are told of them.
        """
        cancel, plugins = cancel or threading.Event(), self._watched(plugins)
        events: Queue[Event | Exception | None] = Queue(AHEAD)
        left, ended = threading.Event(), False  # whether the reader has left, or has seen all
        opened: list[Tape] = []  # the job's tape, once there is one

        def emit(event: Event | Exception | None) -> None:
            while not left.is_set():
                with contextlib.suppress(Full):
                    events.put(event, timeout=_LOOK)
                    return

        observers = Observers(plugins, request.prompt, emit, saved, left)
        images = 0

        def tell(event: Event | Exception) -> None:
            nonlocal images
            if isinstance(event, Exception | Done | Failed | Paused | Cancelled):
                observers.finished(event, images)
            emit(event)
            if isinstance(event, Image | Grid):
                images += isinstance(event, Image)
                observers.after(event)

        def work() -> None:
            try:
                with torch.inference_mode():
                    job = self._open(request, plugins, styles or {}, tape, resume, observers, tell)
                    opened.append(job.tape)
                    self._draw(job, cancel, pause_at, previews, tell)
            except Exception as error:
                tell(failure(error) or error)
            finally:
                self._at("idle")
                emit(None)

        thread = threading.Thread(target=work, name="engine", daemon=True)
        thread.start()
        try:
            while (event := events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Image):  # noted only now: whoever reads the events has the image
                    with contextlib.suppress(OSError):  # a note that cannot be written costs drawing it again
                        opened[0].finish(event.index)
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
        self._at("prepare")
        try:
            choices = choose(request, plugins, self.library)
            plan = prepare(request, choices, plugins, self.library, {})
            optimizers, _ = choose_optimizers(choices, plugins, self.device)
            dtype = pick_dtype(self.device, request.precision)
            with torch.inference_mode():
                self._load_as_asked(request, choices, plan, plugins, dtype, optimizers, Faults(), noticed)
            if not was_read:  # it was there, and whoever waits is told so
                emit(ModelLoading(model=plan.model, done=True))
        finally:
            self._at("idle")

    def unload(self) -> None:
        """Let go of the model."""
        self._model = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # --- stages -------------------------------------------------------------------------------------------------------

    def _open(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        styles: Styles,
        tape: Path | None,
        resume: Resume | None,
        observers: Observers,
        emit: Callable[[Event], None],
    ) -> Run:
        """Everything before the first step: names, plan, weights, sigmas, tape."""
        began = time.perf_counter()
        self._at("prepare")
        reset_peak(self.device)
        if resume:
            plan = resume.plan
            choices = choose_again(plan, plugins, self.library)
        else:
            choices = choose(request, plugins, self.library)
            plan = prepare(request, choices, plugins, self.library, styles, **recorded_seeds(tape, request))
        optimizers, refused = choose_optimizers(choices, plugins, self.device)
        emit(_started(plan, choices))
        faults = Faults()
        for plugin in plugins.problems:
            source = plugin.source.slug
            said = Warning(code="plugin_skipped", message=f"{source} was not loaded: {plugin.error}", source=source)
            # One that is switched off or not trusted is as its user wants it; one that is broken may be missed.
            faults.tell(said, emit, keep=not plugin.source.refusal)
        for left in refused:
            faults.tell(left, emit)
        if warning := _ignored_networks(plan):
            emit(warning)
        dtype = pick_dtype(self.device, request.precision)
        model, optimizers = self._load_as_asked(request, choices, plan, plugins, dtype, optimizers, faults, emit)
        with plugins.guard(choices.family):
            warning = _ignored_embeddings(plan, model, file_stems(self.library.root / EMBEDDINGS))
        if warning:
            emit(warning)
        sigmas = run_sigmas(choices, plan, plugins, noise_levels(request, choices.sampler, plugins, model))
        opened = Tape(header(plan, choices, plugins, dtype, self.device, sigmas), tape)
        if opened.mismatch:
            changed = ", ".join(opened.mismatch)
            emit(Warning(code="tape_restarted", message=f"The tape was made with another {changed}: starting again."))
        return Run(
            request,
            plugins,
            choices,
            plan,
            optimizers,
            sigmas,
            opened,
            dtype,
            began,
            saved=resume.saved if resume else dict.fromkeys(opened.finished()),
            skipped_images=resume.skipped_images if resume else frozenset(),
            on_call=self._count,
            faults=faults,
            observers=observers,
        )

    def _at(self, phase: Phase) -> None:
        self._phase = phase
        if phase == "idle":
            self._call = 0

    def _count(self, number: int) -> None:
        self._call += 1

    def _watched(self, plugins: PluginSet) -> PluginSet:
        """The same plugins: the pulse tells whose code is running, and that leaves the process as it was."""
        return replace(plugins, around=self._around)

    @contextlib.contextmanager
    def _around(self, part: Descriptor, slug: str) -> Iterator[None]:
        outer, self._plugin = self._plugin, slug
        try:
            with contextlib.nullcontext() if outer else isolated(part, self.device):
                yield
        finally:
            self._plugin = outer

    def _load_as_asked(
        self,
        request: GenerationRequest,
        choices: Choices,
        plan: Plan,
        plugins: PluginSet,
        dtype: torch.dtype,
        optimizers: tuple[Optimizer, ...],
        faults: Faults,
        emit: Callable[[Event], None],
    ) -> tuple[Model, tuple[Optimizer, ...]]:
        """The model with the optimizers that work. Raises OptimizerError if one does not that the request names."""
        while True:
            try:
                return self._load(choices, plan, plugins, dtype, optimizers, emit), optimizers
            except OptimizerError as error:
                if any(each.of is error.optimizer for each in choices.additions):
                    raise
                faults.tell(skipped_warning(error), emit)
                optimizers = tuple(optimizer for optimizer in optimizers if optimizer.of is not error.optimizer)

    def _load(
        self,
        choices: Choices,
        plan: Plan,
        plugins: PluginSet,
        dtype: torch.dtype,
        optimizers: tuple[Optimizer, ...],
        emit: Callable[[Event], None],
    ) -> Model:
        """The model, from memory if it is there, with these optimizers on."""
        model, self._model = self._model, None  # forgotten while it changes: half changed it must not be found again
        asked = (plan.model_hash, dtype, choices.family)  # a family that changed builds another model
        if model and (model.sha256, model.dtype, model.family) == asked and can_switch(model, optimizers):
            try:
                self._model = with_optimizers(model, plugins, optimizers)
                return self._model
            except UndoError as error:
                said = f"{error} The model is read again."
                emit(Warning(code="model_reloaded", message=said, source=blamed(error)))
        del model  # its memory is needed for the next one
        began, told = time.perf_counter(), math.inf

        def tell(fraction: float) -> None:
            nonlocal told
            now = time.perf_counter()
            told = min(told, now)  # the time of the first tensor
            if now - told >= TOLD_EVERY:
                told = now
                emit(ModelLoading(model=plan.model, done=False, fraction=fraction))

        emit(ModelLoading(model=plan.model, done=False))
        before, self._phase = self._phase, "load"
        self._model = load_model(choices, plugins, plan.model_hash, self.device, dtype, optimizers, tell)
        self._phase = before
        emit(ModelLoading(model=plan.model, done=True, seconds=time.perf_counter() - began))
        return self._model

    def _draw(
        self,
        job: Run,
        cancel: threading.Event,
        pause_at: int | None,
        previews: bool,
        emit: Callable[[Event], None],
    ) -> None:
        """All batches, one after the other."""
        drawn, paused = 0, False
        cells: dict[int, Cell] = {}  # kept for the grid
        grid = makes_grid(job, emit)
        try:
            batches = job.batches()
            for number, batch in enumerate(batches):
                if not batch:
                    continue
                progress = Progress(job, batch, number, len(batches), previews, emit)
                try:
                    latents = self._sample(job, batch, cancel, pause_at, progress, emit)
                except PausedError:
                    paused = True
                    continue
                self._at("decode")
                for index, image_latents in zip(batch, latents, strict=True):
                    if cancel.is_set():
                        raise CancelledError
                    image, pixels = self._finish(job, index, image_latents, emit)
                    emit(image)
                    drawn += 1
                    if grid:
                        cells[index] = Cell(pixels, image.infotext)
        except CancelledError:
            emit(Cancelled(images=drawn))
            return
        if paused:
            emit(Paused(images=drawn, step=pause_at))
            return
        if grid:
            emit_grid(job, cells, emit)
        memory = memory_use(self.device)
        emit(
            Done(
                images=drawn,
                seconds=time.perf_counter() - job.began,
                memory_active=memory.active,
                memory_reserved=memory.reserved,
                memory_used=memory.used,
                memory_total=memory.total,
            )
        )

    def _sample(
        self,
        job: Run,
        batch: Sequence[int],
        cancel: threading.Event,
        pause_at: int | None,
        progress: Progress,
        emit: Callable[[Event], None],
    ) -> torch.Tensor:
        """A batch's latents [B, C, h, w]. What is not a number in half precision is tried again in float32, from the
        call where it arose."""
        dtype = torch.float32 if any(job.tape.is_float32(index) for index in batch) else job.dtype
        model = self._load(job.choices, job.plan, job.plugins, dtype, job.optimizers, emit)
        self._at("sample")
        try:
            return sample_batch(job, model, batch, cancel, pause_at, progress, emit)
        except PausedError:
            for preview in paused_previews(job, model, batch, pause_at or 0):
                emit(preview)
            raise
        except NonFiniteError as error:
            if model.dtype == torch.float32:
                raise
            emit(Warning(code="float32", message=f"{error} Trying again from there in float32."))
            for index in batch:
                job.tape.go_float32(index, error.call)
        del model
        model = self._load(job.choices, job.plan, job.plugins, torch.float32, job.optimizers, emit)
        return sample_batch(job, model, batch, cancel, pause_at, progress, emit)

    def _finish(
        self, job: Run, index: int, latents: torch.Tensor, emit: Callable[[Event], None]
    ) -> tuple[Image, NDArray[Any]]:
        """Latents [C, h, w] → the encoded image and its pixels."""
        image = job.plan.images[index]
        decoded, precision = self._decode(job, latents, emit)
        pixels = postprocessed(job, image, decoded)
        height, width = pixels.shape[:2]
        pixel_hash = hashlib.sha256(pixels.tobytes()).hexdigest()

        more, wrong = job.observers.keys(facts_of(job, index, width, height))

        def infotext(saver: OutputSaver, faults: Mapping[str, str]) -> str:
            made = record_of(job, index, self.device, saver, precision)
            said = {**job.faults.said, **wrong, **faults}
            return image_infotext(job.plan, image, job.choices, job.plugins, made, said, more)

        file = encoded(job, pixels, infotext, lambda: self._frames(job, index), emit)
        finished = Image(
            index=index,
            seed=image.seed,
            prompt=image.prompt,
            width=width,
            height=height,
            infotext=file.infotext,
            suffix=file.suffix,
            data=file.data,
            pixel_hash=pixel_hash,
        )
        return finished, pixels

    def _frames(self, job: Run, index: int) -> NDArray[Any]:
        """What the network made of an image in each of its calls, uint8 [T, h, w, 3]. Raises PluginFailure if there
        was none."""
        assert self._model
        rows = (job.tape.row(index, call) for call in range(job.tape.recorded(index)))
        frames = [colours(row.result.x0, self._model.components.latent_rgb) for row in rows if row]
        if not frames:
            raise job.plugins.failure(job.choices.sampler, ContractError("it never called the network"))
        return np.stack(frames)

    def _decode(
        self, job: Run, latents: torch.Tensor, emit: Callable[[Event], None]
    ) -> tuple[NDArray[Any], torch.dtype]:
        """An image, and the precision in which it was decoded. One that half precision makes black or impossible is
        decoded again by the VAE in float32, by itself: its batch and those after it stay as they are."""
        assert self._model  # loaded by _sample
        components, dtype = self._model.components, self._model.dtype
        suspect = in_the_network(job, self._model)
        try:
            with job.plugins.guard(suspect, BlackImageError):
                return decode_image(components, latents, dtype), dtype
        except BlackImageError as error:
            if dtype == torch.float32:
                raise
            said = f"{error} The VAE decodes it again in float32."
        job.faults.tell(Warning(code="float32", message=said), emit)
        with job.plugins.guard(suspect, BlackImageError):
            return decode_image(components, latents, torch.float32), torch.float32


def _ignored_networks(plan: Plan) -> Warning | None:
    """Of the network tags in the prompts, which nothing applies yet."""
    found = (tag for image in plan.images for tag in extract(image.prompt)[1])
    tags = dict.fromkeys(":".join((tag.kind, *tag.args)) for tag in found)
    if not tags:
        return None
    named = ", ".join(f"<{printable(tag, 60)}>" for tag in list(tags)[:5]) + (" …" if len(tags) > 5 else "")
    return Warning(code="network_ignored", message=f"Networks are not applied yet; drawn without {named}.")


def _ignored_embeddings(plan: Plan, model: Model, there: Sequence[str]) -> Warning | None:
    """Of the embeddings' names in the prompts, which are read as words so far."""
    tokenize = model.components.tokenize
    names = {name: tokenize(name) for name in there}
    texts = {text for image in plan.images for text in (image.prompt, image.negative_prompt)} if names else set()
    found = {embedding.name for text in texts for embedding in find_embeddings(tokenize(text), names)}
    if not found:
        return None
    named = ", ".join(printable(name, 60) for name in sorted(found)[:5])
    return Warning(code="embedding_ignored", message=f"Embeddings are not applied yet; read as words: {named}.")


def _started(plan: Plan, choices: Choices) -> Started:
    return Started(
        model=plan.model,
        model_hash=plan.model_hash[:10],
        sampler=plan.sampler,
        scheduler=plan.scheduler,
        seed=plan.images[0].seed,
        width=plan.width,
        height=plan.height,
        images=len(plan.images),
        demo=choices.checkpoint.embedded,
        data=plan.model_dump_json().encode(),
    )

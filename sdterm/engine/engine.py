"""The engine: prepare, load, encode, sample, decode, as one stream of events."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from numpy.typing import NDArray

from sdterm import __version__
from sdterm.core.dataroot import data_root
from sdterm.core.library import Library
from sdterm.core.names import printable
from sdterm.core.parameters import image_infotext
from sdterm.core.plan import Choices, ImagePlan, Plan, choose, prepare
from sdterm.core.prompt.networks import extract
from sdterm.core.record import Record
from sdterm.core.registry import PluginSet
from sdterm.core.styles import Styles
from sdterm.engine.brownian import brownian_noise
from sdterm.engine.decode import BlackImageError, decode_image
from sdterm.engine.denoiser import guided_denoiser
from sdterm.engine.device import device_name, memory_use, pick_device, pick_dtype, reset_peak, set_deterministic
from sdterm.engine.failures import failure
from sdterm.engine.grid import MAX_PIXELS, image_grid, layout
from sdterm.engine.loading import Model, OptimizerError, can_switch, choose_optimizers, load_model, with_optimizers
from sdterm.engine.model_sampling import DiscreteSampling
from sdterm.engine.noise import batch_noise
from sdterm.engine.preview import preview_jpeg
from sdterm.engine.recorder import CancelledError, NonFiniteError, Recorder
from sdterm.engine.schedule import run_sigmas
from sdterm.engine.tape import Tape, read_header
from sdterm.events import Cancelled, Done, Event, Grid, Image, ModelLoading, Preview, Resumed, Started, Step, Warning
from sdterm.hooks import MemoryOptimizer, ModelSampling, PluginError, Sampler
from sdterm.request import GenerationRequest

PREVIEW_INTERVAL = 0.5  # seconds

# Parts of a request that change how it is computed, not what is drawn: a tape outlives a change of these.
_HOW = {"memory", "batch_cond_uncond", "format", "format_options", "grid"}


class Engine:
    """Draws requests on one device, keeping the last model in memory. One run at a time.

    library: where checkpoints are found; styles: the user's named prompts; device: `cpu`, `cuda:1` …, unset for the
    best there is (DeviceError if it is not there).
    """

    def __init__(
        self, *, library: Library | None = None, styles: Styles | None = None, device: str | None = None
    ) -> None:
        self.device = pick_device(device)
        self.library = library or Library(data_root(None, os.environ))
        self.styles = styles or {}
        self._model: Model | None = None
        set_deterministic()

    def run(
        self,
        request: GenerationRequest,
        plugins: PluginSet,
        *,
        tape: Path | None = None,
        previews: bool = False,
        cancel: threading.Event | None = None,
    ) -> Generator[Event, None, None]:
        """Draw a request. The events end with one of `done`, `failed` or `cancelled`.

        tape: a file that records every network call; a run with the same request and tape goes on where the last one
        stopped. Without it the tape is in memory. cancel: set it to stop within one network call; closing the
        iterator does too.
        """
        cancel = cancel or threading.Event()
        events: SimpleQueue[Event | Exception | None] = SimpleQueue()
        opened: list[Tape] = []  # the job's tape, once there is one

        def work() -> None:
            try:
                with torch.inference_mode():
                    job = self._open(request, plugins, tape, events.put)
                    opened.append(job.tape)
                    self._draw(job, cancel, previews, events.put)
            except Exception as error:
                events.put(failure(error) or error)
            finally:
                events.put(None)

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
        finally:
            cancel.set()
            thread.join()
            for done_with in opened:
                done_with.close()

    def unload(self) -> None:
        """Let go of the model."""
        self._model = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # --- stages -------------------------------------------------------------------------------------------------------

    def _open(
        self, request: GenerationRequest, plugins: PluginSet, tape: Path | None, emit: Callable[[Event], None]
    ) -> "_Job":
        """Everything before the first step: names, plan, weights, sigmas, tape."""
        began = time.perf_counter()
        reset_peak(self.device)
        choices = choose(request, plugins, self.library)
        plan = prepare(request, choices, plugins, self.library, self.styles, **_recorded_seeds(tape, request))
        optimizers, refused = choose_optimizers(plugins, request.memory, self.device)
        emit(_started(plan, choices))
        for plugin in plugins.problems:
            source = plugin.source.slug
            emit(Warning(code="plugin_skipped", message=f"{source} was not loaded: {plugin.error}", source=source))
        for sentence in refused:
            emit(Warning(code="optimizer_skipped", message=sentence))
        if warning := _ignored_networks(plan):
            emit(warning)
        dtype = pick_dtype(self.device, request.precision)
        while True:
            try:
                model = self._load(choices, plan, plugins, dtype, optimizers, emit)
                break
            except OptimizerError as error:
                if error.optimizer in map(plugins.optimizer, request.memory):
                    raise
                emit(Warning(code="optimizer_skipped", message=f"{error} Going on without it."))
                optimizers = tuple(optimizer for optimizer in optimizers if optimizer is not error.optimizer)
        sigmas = run_sigmas(choices, plan, plugins, _levels(request, choices.sampler, plugins, model))
        opened = Tape(_header(plan, choices, plugins, dtype, self.device, sigmas), tape)
        if opened.mismatch:
            changed = ", ".join(opened.mismatch)
            emit(Warning(code="tape_restarted", message=f"The tape was made with another {changed}: starting again."))
        return _Job(request, plugins, choices, plan, optimizers, sigmas, opened, dtype, began)

    def _load(
        self,
        choices: Choices,
        plan: Plan,
        plugins: PluginSet,
        dtype: torch.dtype,
        optimizers: tuple[MemoryOptimizer, ...],
        emit: Callable[[Event], None],
    ) -> Model:
        """The model, from memory if it is there, with these optimizers on."""
        model, self._model = self._model, None  # forgotten while it changes: half changed it must not be found again
        if model and (model.sha256, model.dtype) == (plan.model_hash, dtype) and can_switch(model, optimizers):
            self._model = with_optimizers(model, plugins, optimizers)
            return self._model
        del model  # its memory is needed for the next one
        began = time.perf_counter()
        emit(ModelLoading(model=plan.model, done=False))
        self._model = load_model(choices, plugins, plan.model_hash, self.device, dtype, optimizers)
        emit(ModelLoading(model=plan.model, done=True, seconds=time.perf_counter() - began))
        return self._model

    def _draw(self, job: "_Job", cancel: threading.Event, previews: bool, emit: Callable[[Event], None]) -> None:
        """All batches, one after the other."""
        drawn = 0
        cells: list[NDArray[Any]] = []  # the images' pixels, kept for the grid
        infotexts: list[str] = []
        grid = _makes_grid(job, emit)
        try:
            batches = job.batches()
            for number, batch in enumerate(batches):
                latents = self._sample(
                    job, batch, cancel, _progress(job, batch, number, len(batches), previews, emit), emit
                )
                for index, image_latents in zip(batch, latents, strict=True):
                    if cancel.is_set():
                        raise CancelledError
                    image, pixels = self._finish(job, index, image_latents, emit)
                    emit(image)
                    drawn += 1
                    if grid:
                        cells.append(pixels)
                        infotexts.append(image.infotext)
        except CancelledError:
            emit(Cancelled(images=drawn))
            return
        if grid:
            _emit_grid(job, cells, infotexts[0], emit)
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
        job: "_Job",
        batch: Sequence[int],
        cancel: threading.Event,
        on_step: Callable[[int, torch.Tensor, Model], None],
        emit: Callable[[Event], None],
    ) -> torch.Tensor:
        """A batch's latents [B, C, h, w]. What is not a number in half precision is tried again in float32, from the
        call where it arose."""
        dtype = torch.float32 if any(job.tape.is_float32(index) for index in batch) else job.dtype
        model = self._load(job.choices, job.plan, job.plugins, dtype, job.optimizers, emit)
        try:
            return _sample_batch(job, model, batch, cancel, on_step, emit)
        except NonFiniteError as error:
            if model.dtype == torch.float32:
                raise
            emit(Warning(code="float32", message=f"{error} Trying again from there in float32."))
            for index in batch:
                job.tape.go_float32(index, error.call)
        del model
        model = self._load(job.choices, job.plan, job.plugins, torch.float32, job.optimizers, emit)
        return _sample_batch(job, model, batch, cancel, on_step, emit)

    def _finish(
        self, job: "_Job", index: int, latents: torch.Tensor, emit: Callable[[Event], None]
    ) -> tuple[Image, NDArray[Any]]:
        """Latents [C, h, w] → the encoded image and its pixels. A black or impossible one is decoded again in
        float32."""
        pixels = self._decode(job, latents, emit)
        image = job.plan.images[index]
        infotext = image_infotext(job.plan, image, job.plugins, _record(job, index, self.device))
        height, width = pixels.shape[:2]
        finished = Image(
            index=index,
            seed=image.seed,
            prompt=image.prompt,
            width=width,
            height=height,
            infotext=infotext,
            suffix=job.choices.saver.suffix,
            data=_encoded(job, pixels, infotext),
            pixel_hash=hashlib.sha256(pixels.tobytes()).hexdigest(),
        )
        return finished, pixels

    def _decode(self, job: "_Job", latents: torch.Tensor, emit: Callable[[Event], None]) -> NDArray[Any]:
        assert self._model  # loaded by _sample
        try:
            return decode_image(self._model.components, latents)
        except BlackImageError as error:
            if self._model.dtype == torch.float32:
                raise
            emit(Warning(code="float32", message=f"{error} Decoding it again in float32."))
        model = self._load(job.choices, job.plan, job.plugins, torch.float32, job.optimizers, emit)
        return decode_image(model.components, latents)


@dataclass(frozen=True)
class _Job:
    """A request on its way through the stages."""

    request: GenerationRequest
    plugins: PluginSet
    choices: Choices
    plan: Plan
    optimizers: tuple[MemoryOptimizer, ...]
    sigmas: torch.Tensor
    tape: Tape
    dtype: torch.dtype
    began: float

    def batches(self) -> list[list[int]]:
        """The images still to draw, by index, as they are drawn together."""
        size = 1 if self.choices.sampler.batch_coupled else self.request.batch_size
        batches = [
            [
                index
                for index in range(first, min(first + size, len(self.plan.images)))
                if not self.tape.is_finished(index)
            ]
            for first in range(0, len(self.plan.images), size)
        ]
        return [batch for batch in batches if batch]


def _encoded(job: _Job, pixels: NDArray[Any], infotext: str) -> bytes:
    """Pixels [H, W, 3] as a file in the chosen format."""
    saver = job.choices.saver
    with job.plugins.guard(saver):
        data = saver.encode(pixels, infotext, **job.plan.format_options)
        if not isinstance(data, bytes):
            raise TypeError("it gave no bytes")
    return data


def _makes_grid(job: _Job, emit: Callable[[Event], None]) -> bool:
    """Whether a grid is asked for and possible; a warning says why not."""
    count = len(job.plan.images)
    if not job.request.grid or count == 1:
        return False
    rows, columns = layout(count)
    pixels = rows * columns * job.plan.width * job.plan.height
    finished = sum(job.tape.is_finished(index) for index in range(count))
    if finished:
        why = f"{finished} of the {count} images were finished in an earlier run"
    elif pixels > MAX_PIXELS:
        why = f"it would have {pixels / 1e6:,.0f} megapixels; the limit is {MAX_PIXELS / 1e6:,.0f}"
    else:
        return True
    emit(Warning(code="grid_skipped", message=f"The grid is left out: {why}."))
    return False


def _emit_grid(job: _Job, cells: Sequence[NDArray[Any]], infotext: str, emit: Callable[[Event], None]) -> None:
    """The grid of a finished job. The images are what matters: what prevents it is a warning."""
    try:
        grid = image_grid(cells)
        data = _encoded(job, grid, infotext)
    except (PluginError, MemoryError) as error:
        emit(Warning(code="grid_skipped", message=f"The grid is left out. {error}"))
        return
    height, width = grid.shape[:2]
    emit(Grid(width=width, height=height, infotext=infotext, suffix=job.choices.saver.suffix, data=data))


def _ignored_networks(plan: Plan) -> Warning | None:
    """Of the network tags in the prompts, which nothing applies yet."""
    found = (tag for image in plan.images for tag in extract(image.prompt)[1])
    tags = dict.fromkeys(":".join((tag.kind, *tag.args)) for tag in found)
    if not tags:
        return None
    named = ", ".join(f"<{printable(tag, 60)}>" for tag in list(tags)[:5]) + (" …" if len(tags) > 5 else "")
    return Warning(code="network_ignored", message=f"Networks are not applied yet; drawn without {named}.")


def _levels(request: GenerationRequest, sampler: Sampler, plugins: PluginSet, model: Model) -> ModelSampling:
    """The noise levels that a run is on: the model's, or what the sampler makes of them."""
    sampling = model.sampling
    if request.downcast_alphas or request.quantize:
        alphas = model.components.alphas_cumprod
        sampling = DiscreteSampling(alphas.half() if request.downcast_alphas else alphas, request.quantize)
    if not sampler.sampling:
        return sampling
    with plugins.guard(sampler):
        return sampler.sampling(sampling)


def _start_scale(job: "_Job") -> torch.Tensor | float:
    """What pure noise is multiplied by."""
    if job.choices.sampler.start == "unit":
        return 1.0
    if job.request.sgm_noise_multiplier:
        return torch.sqrt(1.0 + job.sigmas[0] ** 2.0)
    return job.sigmas[0]


def _sample_batch(
    job: _Job,
    model: Model,
    batch: Sequence[int],
    cancel: threading.Event,
    on_step: Callable[[int, torch.Tensor, Model], None],
    emit: Callable[[Event], None],
) -> torch.Tensor:
    images: list[ImagePlan] = [job.plan.images[index] for index in batch]
    sampler, components, request = job.choices.sampler, model.components, job.request
    shape = (
        components.latent_channels,
        job.plan.height // components.downscale,
        job.plan.width // components.downscale,
    )
    start, noise = batch_noise(images, request, shape, components.downscale, components.device)
    if sampler.noise == "brownian":
        seeds = [image.seed for image in images]
        with job.plugins.guard(sampler):  # it may have given sigmas that span nothing
            noise = brownian_noise(seeds, request.noise_source, shape, components.device, job.sigmas)
    for index, latents in zip(batch, start, strict=True):
        job.tape.start(index, latents)
    levels = _levels(request, sampler, job.plugins, model)
    calls = request.steps * sampler.calls_per_step  # what A1111 plans a prompt's schedule by, whatever really comes
    network = guided_denoiser(
        components,
        levels,
        model.condition,
        [model.condition.prompt(extract(image.prompt)[0], request, calls) for image in images],
        [model.condition.negative(image.negative_prompt, request, calls) for image in images],
        request,
        needs_uncond=sampler.needs_uncond,
    )

    def on_live(call: int) -> None:
        if call:
            emit(Resumed(first=batch[0], images=len(batch), calls=call))

    recorder = Recorder(
        network, job.tape, batch, start.shape, cancel, lambda step, x0: on_step(step, x0, model), on_live
    )
    try:
        with job.plugins.guard(sampler):
            latents = sampler.sample(
                recorder.denoise,
                start * _start_scale(job),
                job.sigmas,
                noise=noise,
                callback=recorder.callback,
                **({"sampling": levels} if sampler.sampling else {}),
                **job.plan.sampler_options,
            )
            if not (
                isinstance(latents, torch.Tensor) and latents.shape == start.shape and torch.isfinite(latents).all()
            ):
                raise ValueError("it gave no finite latents of its input's shape")
    finally:
        recorder.close()  # what ended the run, if it was not the sampler, is raised here in place of its error
    return latents.float()


def _progress(
    job: _Job, batch: Sequence[int], number: int, batches: int, previews: bool, emit: Callable[[Event], None]
) -> Callable[[int, torch.Tensor, Model], None]:
    """The `on_step` of a batch: a step event each time, a preview now and then."""
    shown = time.perf_counter()

    def on_step(step: int, x0: torch.Tensor, model: Model) -> None:
        nonlocal shown
        emit(Step(batch=number, batches=batches, step=step, steps=len(job.sigmas) - 1))
        if previews and time.perf_counter() - shown >= PREVIEW_INTERVAL:
            emit(Preview(index=batch[0], step=step, data=preview_jpeg(x0, model.components.latent_rgb)))
            shown = time.perf_counter()

    return on_step


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
    )


def _header(
    plan: Plan, choices: Choices, plugins: PluginSet, dtype: torch.dtype, device: torch.device, sigmas: torch.Tensor
) -> dict[str, Any]:
    """What recorded rows depend on, under the words a user is told when one of them changed."""
    owners = {plugins.owner(part) for part in (choices.sampler, choices.scheduler, choices.family)}
    return {
        "request": plan.request.model_dump(mode="json", exclude=_HOW),
        "prompt or seed": [image.model_dump(mode="json") for image in plan.images],
        "checkpoint": plan.model_hash,
        "plugin version": [entry for entry in plugins.identity if entry[0] in owners],
        "schedule": sigmas.tolist(),
        "precision": str(dtype),
        "device": device_name(device),
        "thread count": torch.get_num_threads(),
        "version of torch": torch.__version__,
        "version of sdterm": __version__,
    }


def _record(job: _Job, index: int, device: torch.device) -> Record:
    """What image `index` is made with, for whoever wants to draw it again or ask why it differs."""
    drawers = {job.plugins.owner(part) for part in (job.choices.sampler, job.choices.scheduler, job.choices.family)}
    strangers = [p.source for p in job.plugins.plugins if p.source.origin != "built-in" and p.source.slug in drawers]
    saver = job.choices.saver
    dtype = torch.float32 if job.tape.is_float32(index) else job.dtype
    size = 1 if job.choices.sampler.batch_coupled else job.request.batch_size
    together = min(size, len(job.plan.images) - index // size * size)
    return Record(
        torch=torch.__version__,
        device=device_name(device),
        dtype=str(dtype).removeprefix("torch."),
        threads=str(torch.get_num_threads()) if device.type == "cpu" else "",
        batch=f"{index % size}/{together}" if together > 1 else "",
        format=saver.id,
        format_options={o.name: v for o in saver.options if (v := job.plan.format_options[o.name]) != o.default},
        plugins=tuple(f"{source.slug}@{source.digest}" for source in strangers),
        memory=job.request.memory,
    )


def _recorded_seeds(tape: Path | None, request: GenerationRequest) -> dict[str, Callable[[], int]]:
    """What an earlier run of this request drew, as `prepare` takes it: resuming a random seed draws the same image."""
    header: Mapping[str, Any] | None = read_header(tape) if tape else None
    if not header or header.get("request") != request.model_dump(mode="json", exclude=_HOW):
        return {}
    images = header.get("prompt or seed")
    if not images:
        return {}
    first = ImagePlan.model_validate(images[0])
    return {"draw_seed": lambda: first.seed, "draw_variation": lambda: first.variation_seed}

"""Drawing an image with a pipeline: its own call, with the tape at its denoisers."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sdterm.core.extensions.registry import ContractError
from sdterm.core.inputs import InputError
from sdterm.engine.decode import BlackImageError
from sdterm.engine.loading import Model
from sdterm.engine.memory import decoded_size, measured
from sdterm.engine.preview import preview
from sdterm.engine.recorder import NonFiniteError, PausedError
from sdterm.engine.run import Run
from sdterm.engine.sample import PREVIEW_INTERVAL, Batch, Drawn
from sdterm.engine.sources import Sources
from sdterm.engine.tape import DENOISER
from sdterm.engine.tapped.arguments import arguments, ignored_negative_prompt, pictures_of, stepping, task_of
from sdterm.engine.tapped.clock import Clock, Stepped
from sdterm.engine.tapped.colours import colours_of
from sdterm.engine.tapped.latents import clean_latents
from sdterm.engine.tapped.library_warnings import warnings_reported
from sdterm.engine.tapped.pipeline import GREY, LoadedPipeline
from sdterm.engine.tapped.recorder import EndedError, PipelineRecorder, Told, UnlikeError
from sdterm.engine.tapped.tap import tapped
from sdterm.events import Preview, Resumed, Step, Warning
from sdterm.messages import message

_NO_LATENTS = torch.zeros(0)


def draw_image(run: Run, load: Callable[[torch.dtype], Model], batch: Batch, pass_no: int, sources: Sources) -> Drawn:
    """The one image of a batch. What was recorded and does not hold any more begins again; so does, in float32, what is
    not a number in half precision. Raises what the recorder raises; PluginError if the pipeline fails."""
    (index,) = batch.images
    run.tape.start(index, pass_no, _NO_LATENTS)
    while True:
        dtype = torch.float32 if run.tape.is_float32(index, pass_no) else run.dtype
        try:
            return _drawn(run, load(dtype), batch, pass_no, sources)
        except UnlikeError as error:
            said = message(
                "Image {number} starts again because its record no longer fits: {reason}.",
                number=index + 1,
                reason=error,
            )
            run.emit(Warning(code="tape_restarted", message=said))
            run.tape.begin_again(index, pass_no)
        except (NonFiniteError, BlackImageError) as error:
            if dtype == torch.float32:
                raise
            run.emit(
                Warning(code="float32", message=message("{problem} The image starts again in float32.", problem=error))
            )
            run.tape.begin_again(index, pass_no)
            run.tape.go_float32(index, pass_no, DENOISER, 0)


def _drawn(run: Run, model: Model, batch: Batch, pass_no: int, sources: Sources) -> Drawn:
    loaded, (index,) = _pipeline_of(model), batch.images
    with run.plugins.guard(model.family, InputError):
        pipe = loaded.for_task(task_of(run))
        pictures = pictures_of(run, index, sources)
        if run.previews and run.cache and loaded.latent_rgb is GREY:
            loaded.latent_rgb = colours_of(pipe, run.cache) or GREY
    with stepping(run, pipe, pass_no):
        return _called(run, model, pipe, pictures, batch, pass_no)


def _called(run: Run, model: Model, pipe: Any, pictures: Sequence[Image.Image], batch: Batch, pass_no: int) -> Drawn:
    loaded, pipeline, (index,) = _pipeline_of(model), model.family, batch.images
    clock = Clock(run.plan.passes[pass_no].steps)
    progress = PipelineProgress(run, loaded, pipe, batch, pass_no)
    loaded.prompts.state = model.applied.asked, [(each.of.id, dict(each.options)) for each in model.optimizers]
    recorder = PipelineRecorder(
        dict(pipe.components),
        run.tape,
        index,
        pass_no,
        run.device,
        clock,
        run.cancel,
        Told(progress.on_step, progress.on_replayed, run.pulse.count, progress.on_untaped, lambda: stages.decode()),
        run.pause_at.step if run.pause_at and run.pause_at.pass_no == pass_no else None,
    )
    stages = Stages(run, model, pass_no, lambda: recorder.live_calls)
    seed, output = run.plan.images[index].seed, None
    try:
        with stages.measured, run.plugins.guard(pipeline, EndedError, BlackImageError):
            stages.sample()
            _seed_all(seed)
            generator = torch.Generator("cpu").manual_seed(seed)
            try:
                with tapped(pipe.components, recorder.call, recorder.step), warnings_reported(progress.on_said):
                    given = arguments(run, pipe, index, pass_no, generator, pictures)
                    if why := ignored_negative_prompt(given, run.plan.text_of(index, pass_no).negative_prompt, pipe):
                        progress.on_said(why)
                    output = pipe(**given)
            finally:  # or its hooks keep what they have for whoever comes next
                getattr(pipe, "maybe_free_model_hooks", lambda: None)()
            picture = _picture(output)
    except EndedError:
        pass  # which the recorder explains
    finally:
        try:
            recorder.close()
        except PausedError:
            progress.show(recorder.last)
            raise
    return Drawn(_NO_LATENTS, picture=picture)


def _pipeline_of(model: Model) -> LoadedPipeline:
    components: Any = model.components
    assert isinstance(components, LoadedPipeline)
    return components


def _seed_all(seed: int) -> None:
    """The process's own random numbers, for what does not take a generator; the guard puts them back."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _picture(output: Any) -> NDArray[Any]:
    """The one picture that a pipeline gave, uint8 [H, W, 3]. Raises ContractError, BlackImageError."""
    images = getattr(output, "images", None)
    if images is None and isinstance(output, tuple) and output:
        images = output[0]
    if not isinstance(images, list) or len(images) != 1 or not hasattr(images[0], "convert"):
        raise ContractError(message("it did not return a list with one PIL image"))
    pixels = np.asarray(images[0].convert("RGB")).copy()
    if not pixels.any():  # what is not a number becomes that
        raise BlackImageError(message("The decoded image is completely black."))
    return pixels


class Stages:
    """What a pipeline is at, for its memory: a call is sampled, and then decoded."""

    def __init__(self, run: Run, model: Model, pass_no: int, calls: Callable[[], int]) -> None:
        self._run, self._weights, self._calls = run, model.weights, calls
        planned = run.plan.passes[pass_no]
        self._pixels = planned.width * planned.height
        self.measured = ExitStack()

    def sample(self) -> None:
        self._run.pulse.phase = "sample"
        self.measured.enter_context(measured(self._run, self._weights, "sample", self._pixels, self._calls))

    def decode(self) -> None:
        self._run.pulse.phase = "decode"
        self.measured.close()
        size = decoded_size(self._run, self._pixels)
        self.measured.enter_context(measured(self._run, self._weights, "decode", size, count(0).__next__))


class PipelineProgress:
    """Reports where an image is in a pass, from the thread behind: each step, a preview now and then, and what came
    from the tape."""

    def __init__(self, run: Run, loaded: LoadedPipeline, pipe: Any, batch: Batch, pass_no: int) -> None:
        self._run, self._loaded, self._pass, (self._image,) = run, loaded, pass_no, batch.images
        self._pipe = pipe
        self._at = {
            "batch": batch.number,
            "batches": batch.count,
            "pass_no": pass_no,
            "passes": len(run.plan.passes),
        }
        self._step = 0
        self._shown = time.perf_counter()

    def on_step(self, step: int, steps: int, what: Stepped) -> None:
        self._step = step
        self._run.emit(Step(step=step, steps=steps, **self._at))
        if self._run.previews and time.perf_counter() - self._shown >= PREVIEW_INTERVAL:
            self.show(what)
            self._shown = time.perf_counter()

    def on_replayed(self, calls: int, step: int, steps: int) -> None:
        self._step = step
        self._run.emit(Resumed(first=self._image, images=1, calls=calls, step=step, steps=steps, **self._at))

    def on_untaped(self, why: str) -> None:
        said = message("This job is not recorded because {reason}: an interrupted image starts again.", reason=why)
        self._run.warn(Warning(code="not_recorded", message=said), keep=False)

    def on_said(self, what: str) -> None:
        """A warning of diffusers. In the drawing thread."""
        self._run.warn(Warning(code="pipeline_said", message=what), keep=False)

    def show(self, what: Stepped | None) -> None:
        """What the image looks like at that step."""
        planned = self._run.plan.passes[self._pass]
        latents = clean_latents(what, self._pipe, planned.width, planned.height) if what else None
        if latents is not None:
            components: Any = self._loaded
            if len(latents) != len(self._loaded.latent_rgb[0]):  # nobody knows what its channels mean
                components = replace(self._loaded, latent_rgb=GREY)
                latents = latents.mean(0, keepdim=True)
            data = preview(self._run, components, latents)
            self._run.emit(Preview(index=self._image, step=self._step, pass_no=self._pass, data=data))

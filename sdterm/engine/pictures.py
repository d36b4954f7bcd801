"""A job that draws nothing: pictures that are there become larger."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.infotext import upscaled as infotext
from sdterm.core.infotext.files import ImageFileError, read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.keys import POSTPROCESS, addition_key
from sdterm.core.inputs import Inputs, UnknownInputError, picture_size
from sdterm.core.planning.choices import PictureChoices
from sdterm.core.planning.plan import ImagePlan, Plan
from sdterm.engine.device import memory_use
from sdterm.engine.encode import encoded
from sdterm.engine.enlarge import enlarge
from sdterm.engine.faults import Faults
from sdterm.engine.ladder import with_room
from sdterm.engine.postprocess import postprocessed
from sdterm.engine.pulse import Pulse
from sdterm.engine.recorder import CancelledError
from sdterm.engine.upscale import Upscaling
from sdterm.events import Cancelled, Done, Event, Image, Started, Step, Warning
from sdterm.messages import message
from sdterm.request import GenerationRequest


@dataclass(frozen=True)
class PictureRun:
    """What was asked, what was settled, and what is worked with. saved, skipped_images: those not to be made."""

    request: GenerationRequest
    choices: PictureChoices
    plan: Plan
    upscaling: Upscaling
    inputs: Inputs
    pulse: Pulse
    emit: Callable[[Event], None]
    free: Callable[[], bool]
    """Lets go of models for drawing, and says whether there were any."""
    saved: Mapping[int, Path | None] = field(default_factory=dict)
    skipped_images: frozenset[int] = frozenset()
    began: float = 0.0
    faults: Faults = field(default_factory=Faults)

    @property
    def plugins(self) -> PluginSet:
        return self.upscaling.plugins

    def warn(self, warning: Warning, *, keep: bool = True) -> None:
        """Say what went wrong with a plugin, once."""
        self.faults.tell(warning, self.emit, keep=keep)


def sources(request: GenerationRequest, inputs: Inputs) -> list[ImagePlan]:
    """What the pictures of a request say of themselves. Raises InputError."""
    for digest in request.upscale_images:
        if not inputs.has(digest):
            raise UnknownInputError(message("Input {hash} no longer exists. Upload the image again.", hash=digest[:12]))
    return [_source(infotext_of(inputs.path(digest))) for digest in request.upscale_images]


def _source(text: str) -> ImagePlan:
    said = parse(text)
    seed = said.parameters.get("Seed", "")
    return ImagePlan(
        seed=int(seed) if seed.isdecimal() and len(seed) < 20 else 0,
        prompt=said.prompt if said.parameters else "",
        negative_prompt=said.negative_prompt,
    )


def infotext_of(path: Path) -> str:
    """What a picture says; nothing if it says nothing that can be read."""
    try:
        return read_infotext(path) or ""
    except ImageFileError:
        return ""


def enlarge_pictures(run: PictureRun) -> None:
    """All pictures, one after the other. Raises what one cannot be read or made larger for."""
    run.emit(_started(run))
    made = 0
    try:
        for index in range(len(run.plan.images)):
            if index in run.saved or index in run.skipped_images:
                continue
            if run.upscaling.cancel.is_set():
                raise CancelledError
            run.emit(with_room(partial(_made, run, index), run.free, run.emit))
            made += 1
    except CancelledError:
        run.emit(Cancelled(images=made))
        return
    memory = memory_use(run.upscaling.device)
    run.emit(
        Done(
            images=made,
            seconds=time.perf_counter() - run.began,
            memory_active=memory.active,
            memory_reserved=memory.reserved,
            memory_used=memory.used,
            memory_total=memory.total,
        )
    )


def _started(run: PictureRun) -> Started:
    width, height = picture_size(run.inputs.path(run.request.upscale_images[0]))
    if run.choices.enlargement:
        width, height = run.choices.enlargement.size(width, height)
    return Started(
        model=run.plan.model,
        model_hash=run.plan.model_hash[:10],
        sampler="",
        scheduler="",
        seed=run.plan.images[0].seed,
        width=width,
        height=height,
        images=len(run.plan.images),
        data=run.plan.model_dump_json().encode(),
    )


def _made(run: PictureRun, index: int) -> Image:
    digest, source = run.request.upscale_images[index], run.plan.images[index]
    run.pulse.phase = "decode"
    pixels: NDArray[Any] = np.asarray(run.inputs.read(digest))
    if run.choices.enlargement:
        run.pulse.phase = "sample"
        pixels = enlarge(_reporting(run, index), run.choices.enlargement, pixels).copy()
    run.pulse.phase = "decode"
    if run.choices.postprocessors():
        pixels = postprocessed(run, source, np.ascontiguousarray(pixels[..., :3]))
    said = infotext_of(run.inputs.path(digest))
    upscaled = infotext.text(infotext.spelled_out(run.request, run.choices.enlargement), _postprocessed(run))
    whole = infotext.joined(said, upscaled)
    file = encoded(
        run,
        pixels,
        lambda saver, faults: said if saver.texts else whole,
        frames=lambda: np.zeros((0, 1, 1, 3), np.uint8),
        texts={infotext.TEXT: upscaled},
    )
    return Image(
        kind="upscaled",
        index=index,
        seed=source.seed,
        prompt=source.prompt,
        width=pixels.shape[1],
        height=pixels.shape[0],
        infotext=whole,
        suffix=file.suffix,
        data=file.data,
        pixel_hash=hashlib.sha256(np.ascontiguousarray(pixels[..., :3]).tobytes()).hexdigest(),
    )


def _postprocessed(run: PictureRun) -> dict[str, object]:
    """What the picture says of its postprocessors."""
    chosen = run.choices.postprocessors()
    said: dict[str, object] = {POSTPROCESS: ", ".join(each.of.label for each in chosen)} if chosen else {}
    for each in chosen:
        options = [option for option in each.of.options if each.options[option.name] != option.default]
        said |= {addition_key(each.of, option): each.options[option.name] for option in options}
    return said


def _reporting(run: PictureRun, index: int) -> Upscaling:
    """The same, which tells each call of a network as a step."""

    def report(done: int, calls: int) -> None:
        run.pulse.count(1)
        run.emit(Step(batch=index, batches=len(run.plan.images), step=done, steps=calls))

    return replace(run.upscaling, report=report)

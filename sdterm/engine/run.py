"""A job: a request on its way through the engine, and what its tape and its images remember it by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from sdterm.core.extensions.registry import ContractError, PluginSet
from sdterm.core.frames import MAX_PAYLOAD
from sdterm.core.infotext.record import Provenance
from sdterm.core.planning.choices import Choices, options_of
from sdterm.core.planning.plan import ImagePlan, Plan
from sdterm.engine.device import device_name
from sdterm.engine.failures import blamed
from sdterm.engine.faults import Faults
from sdterm.engine.loading import Optimizer
from sdterm.engine.observers import Observers
from sdterm.engine.tape import Tape, read_header
from sdterm.events import Event, Warning
from sdterm.hooks import ImageFacts, MemoryOptimizer, OptionValue, OutputSaver, PluginError
from sdterm.request import GenerationRequest
from sdterm.version import __version__

# Parts of a request that the rows of a tape do not depend on, or of which the header tells what matters: options of
# prompt transforms are seen in the prompts.
_NOT_RECORDED = {
    "memory",
    "batch_cond_uncond",
    "batch_size",
    "batch_count",
    "precision",
    "format",
    "format_options",
    "grid",
    "postprocess",
    "options",
}


@dataclass(frozen=True)
class Resume:
    """A job that goes on: what was settled before, which nothing that changed since reaches."""

    plan: Plan
    saved: Mapping[int, Path] = field(default_factory=dict)
    """Image → its file: not drawn again, and shown in the grid."""
    skipped_images: frozenset[int] = frozenset()
    """Images that nobody wants any more."""


@dataclass(frozen=True)
class Run:
    """A request on its way through the stages."""

    request: GenerationRequest
    plugins: PluginSet
    choices: Choices
    plan: Plan
    optimizers: tuple[Optimizer, ...]
    sigmas: torch.Tensor
    tape: Tape
    dtype: torch.dtype
    began: float
    saved: Mapping[int, Path | None]
    """Images of earlier runs, with their files where those are known."""
    skipped_images: frozenset[int]
    on_call: Callable[[int], None]
    """Told the number of each network call that is done."""
    faults: Faults
    observers: Observers

    def is_settled(self, index: int) -> bool:
        """Whether an image need not be drawn."""
        return index in self.saved or index in self.skipped_images

    def batches(self) -> list[list[int]]:
        """The images still to draw, by index, as they are drawn together; empty where all are settled."""
        size = 1 if self.choices.sampler.batch_coupled else self.request.batch_size
        count = len(self.plan.images)
        return [
            [index for index in range(first, min(first + size, count)) if not self.is_settled(index)]
            for first in range(0, count, size)
        ]


@dataclass(frozen=True)
class Encoded:
    """A picture as a file."""

    data: bytes
    suffix: str
    infotext: str


def encoded(
    job: Run,
    pixels: NDArray[Any],
    infotext: Callable[[OutputSaver, Mapping[str, str]], str],
    frames: Callable[[], NDArray[Any]],
    emit: Callable[[Event], None],
) -> Encoded:
    """Pixels [H, W, 3] as a file in the chosen format. A finished picture is not thrown away: where that format's saver
    fails or refuses, it becomes a PNG. infotext: what the picture says, given its saver and what plugins did to it
    alone (slug → what). frames: those of the steps, for a saver that wants them. Raises PluginError if PNG fails."""
    saver, png = job.choices.saver, job.plugins.saver("png")
    pixels.setflags(write=False)  # or a saver might change what is hashed and shown in the grid
    try:
        text = infotext(saver, {})
        return Encoded(_encode(job, saver, pixels, text, frames), saver.suffix, text)
    except PluginError as error:
        if saver is png:
            raise
        said = f"{error} The picture is saved as PNG."
        warning = Warning(code="saver_failed", message=said, source=blamed(error))
    job.faults.tell(warning, emit, keep=False)
    text = infotext(png, {warning.source or job.plugins.owner(saver): warning.message})
    return Encoded(_encode(job, png, pixels, text, frames), png.suffix, text)


def _encode(
    job: Run, saver: OutputSaver, pixels: NDArray[Any], infotext: str, frames: Callable[[], NDArray[Any]]
) -> bytes:
    more = {"frames": frames()} if saver.frames else {}
    with job.plugins.guard(saver):
        data = saver.encode(pixels.view(), infotext, **more, **_options(job, saver))
        if not isinstance(data, bytes) or not data:
            raise ContractError("it gave no bytes")
        if len(data) > MAX_PAYLOAD:
            raise ContractError(f"it gave {len(data) >> 20:,} MiB; at most {MAX_PAYLOAD >> 20:,} MiB are taken")
    return data


def _options(job: Run, saver: OutputSaver) -> Mapping[str, OptionValue]:
    """Those of the request are the chosen saver's."""
    return job.plan.format_options if saver is job.choices.saver else options_of(saver, {})


def facts_of(job: Run, index: int, width: int, height: int) -> ImageFacts:
    """A finished image of that size, for observers."""
    plan, image = job.plan, job.plan.images[index]
    return ImageFacts(
        index=index,
        images=len(plan.images),
        seed=image.seed,
        prompt=image.prompt,
        negative_prompt=image.negative_prompt,
        width=width,
        height=height,
        model=plan.model,
        sampler=plan.sampler,
        scheduler=plan.scheduler,
        steps=plan.request.steps,
        cfg_scale=plan.request.cfg_scale,
    )


def header(
    plan: Plan, choices: Choices, plugins: PluginSet, dtype: torch.dtype, device: torch.device, sigmas: torch.Tensor
) -> dict[str, Any]:
    """What recorded rows depend on, under the words a user is told when one of them changed."""
    memory = choices.asked(MemoryOptimizer)
    visible = [each for each in memory if each.of.effect == "visible" and not each.of.decodes_only]
    owners = {plugins.owner(part) for part in (choices.sampler, choices.scheduler, choices.family)}
    owners |= {plugins.owner(each.of) for each in visible}
    return {
        "request": _recorded(plan.request),
        "prompt or seed": [image.model_dump(mode="json") for image in plan.images],
        "checkpoint": plan.model_hash,
        "plugin version": [entry for entry in plugins.identity if entry[0] in owners],
        "schedule": sigmas.tolist(),
        "precision": str(dtype),
        "device": device_name(device),
        "thread count": torch.get_num_threads(),
        "memory optimizers": [[each.of.id, dict(each.options)] for each in visible],
        "version of torch": torch.__version__,
        "version of sdterm": __version__,
    }


def _recorded(request: GenerationRequest) -> dict[str, Any]:
    """A request as a tape remembers it: however its images are split into batches."""
    images = request.batch_size * request.batch_count
    return {**request.model_dump(mode="json", exclude=_NOT_RECORDED), "images": images}


def record_of(job: Run, index: int, device: torch.device, saver: OutputSaver, decoded_in: torch.dtype) -> Provenance:
    """What image `index` is made with, for whoever wants to draw it again or ask why it differs."""
    drawers = {job.plugins.owner(part) for part in (job.choices.sampler, job.choices.scheduler, job.choices.family)}
    drawers |= {job.plugins.owner(each.of) for each in job.choices.additions}
    strangers = [p.source for p in job.plugins.plugins if p.source.origin != "built-in" and p.source.slug in drawers]
    dtype = torch.float32 if job.tape.is_float32(index) else job.dtype
    size = 1 if job.choices.sampler.batch_coupled else job.request.batch_size
    together = min(size, len(job.plan.images) - index // size * size)
    return Provenance(
        torch=torch.__version__,
        device=device_name(device),
        dtype=_name(dtype),
        vae=_name(decoded_in) if decoded_in != dtype else "",
        threads=str(torch.get_num_threads()) if device.type == "cpu" else "",
        batch=f"{index % size}/{together}" if together > 1 else "",
        format=saver.id,
        format_options={o.name: v for o in saver.options if (v := _options(job, saver)[o.name]) != o.default},
        plugins=tuple(f"{source.slug}@{source.digest}" for source in strangers),
        memory=tuple(each.of.id for each in job.choices.asked(MemoryOptimizer)),
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def recorded_seeds(tape: Path | None, request: GenerationRequest) -> dict[str, Callable[[], int]]:
    """What an earlier run of this request drew, as `prepare` takes it: resuming a random seed draws the same image."""
    header: Mapping[str, Any] | None = read_header(tape) if tape else None
    if not header or header.get("request") != _recorded(request):
        return {}
    images = header.get("prompt or seed")
    if not images:
        return {}
    first = ImagePlan.model_validate(images[0])
    return {"draw_seed": lambda: first.seed, "draw_variation": lambda: first.variation_seed}

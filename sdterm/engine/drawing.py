"""Drawing a run that is open: batch after batch, pass after pass."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch

from sdterm.engine.device import memory_use
from sdterm.engine.finish import before_hires, finish_image
from sdterm.engine.grid import Cell, emit_grid, makes_grid
from sdterm.engine.hires import Before, drawn_before, given_before, larger
from sdterm.engine.ladder import going_down
from sdterm.engine.loading import Loader, Model
from sdterm.engine.memory import measured
from sdterm.engine.network_files import wanted
from sdterm.engine.recorder import CancelledError, NonFiniteError, PausedError
from sdterm.engine.run import Run
from sdterm.engine.sample import Batch, Drawn, Models, paused_previews, sample_pass
from sdterm.engine.sources import Init, Sources
from sdterm.engine.tape import DENOISER
from sdterm.events import Cancelled, Done, Paused, Warning
from sdterm.hooks import Pipeline
from sdterm.messages import message


@dataclass
class _Drawing:
    """How far a run is: what is kept while it steps down the ladder."""

    delivered: set[int] = field(default_factory=set)
    """Images."""
    shown: set[int] = field(default_factory=set)
    """Images whose picture before hires was handed out."""
    cells: dict[int, Cell] = field(default_factory=dict)
    """For the grid."""


def draw(run: Run, loader: Loader, sources: Sources) -> None:
    """All batches of its share, one after the other. What runs out of memory goes on with less of it."""
    drawing = _Drawing()
    grid = not run.share.is_part and makes_grid(run)
    try:
        run, paused = going_down(run, loader, lambda run: _batches(run, loader, sources, drawing, grid))
    except CancelledError:
        run.emit(Cancelled(images=len(drawing.delivered)))
        return
    if paused:
        at = run.pause_at
        step, pass_no = (at.step, at.pass_no) if at else (None, 0)
        run.emit(Paused(images=len(drawing.delivered), step=step, pass_no=pass_no))
        return
    if grid and not run.share.is_part:
        emit_grid(run, drawing.cells)
    memory = memory_use(run.device)
    run.emit(
        Done(
            images=len(drawing.delivered),
            seconds=time.perf_counter() - run.began,
            memory_active=max(memory.active, run.meter.highest if run.meter else 0),
            memory_reserved=memory.reserved,
            memory_used=memory.used,
            memory_total=memory.total,
        )
    )


def _batches(run: Run, loader: Loader, sources: Sources, drawing: _Drawing, grid: bool) -> bool:
    """Draw what is not delivered. Returns whether some of it waits."""
    paused, batches = False, run.batches()
    left = [[index for index in batch if index not in drawing.delivered] for batch in batches]
    for number, images in run.share.batches(left):
        if run.cut.is_end and drawing.delivered:
            break
        run.cut.begin_batch()
        try:
            drawn = _sampled(run, loader, Batch(images, number, len(batches)), sources, drawing)
        except PausedError:
            paused = True
            continue
        run.pulse.phase = "decode"
        for index, image_drawn in zip(images, drawn, strict=True):
            if run.cancel.is_set():
                raise CancelledError
            finished = finish_image(run, _loaded(loader), index, image_drawn, sources)
            for side in finished.sides:
                if not run.tape.is_delivered(index, side.kind):
                    run.emit(side)
            run.emit(finished.image)
            drawing.delivered.add(index)
            if grid:
                drawing.cells[index] = Cell(finished.pixels, finished.image.infotext)
    return paused


def _sampled(run: Run, loader: Loader, batch: Batch, sources: Sources, drawing: _Drawing) -> list[Drawn]:
    """A batch after its last pass."""
    if isinstance(run.choices.first.model.family, Pipeline):
        return [_tapped(run, loader, batch, sources)]
    drawn: list[Drawn] = []
    for number, planned in enumerate(run.plan.passes):
        if planned.start == "given":
            continue
        before, drawn = drawn, _sampled_pass(run, loader, batch, number, drawn, sources, drawing)
        if any(each.refined for each in before):
            drawn = [replace(each, refined=True) for each in drawn]
        if run.cut.is_set():
            break
    return drawn


def _tapped(run: Run, loader: Loader, batch: Batch, sources: Sources) -> Drawn:
    """The image of a batch, drawn by a pipeline in its only pass."""
    from sdterm.engine.tapped.draw import draw_image  # which imports diffusers

    return draw_image(run, lambda dtype: _models(run, loader, batch, 0, dtype).own(), batch, 0, sources)


def _sampled_pass(
    run: Run, loader: Loader, batch: Batch, number: int, before: list[Drawn], sources: Sources, drawing: _Drawing
) -> list[Drawn]:
    """before: the batch after the pass before, if that was drawn. What is not a number in half precision is tried again
    in float32, from the call where it arose."""
    dtype = torch.float32 if any(run.tape.is_float32(index, number) for index in batch.images) else run.dtype
    models = _models(run, loader, batch, number, dtype)
    init, start = None, run.plan.passes[number].start
    if start == "image":
        images = [run.plan.images[index] for index in batch.images]
        init = _init(run, batch, number, lambda: sources.init(run, models.own(), images))
    elif start == "pass":
        came_from = _before(run, loader, batch, number, before, drawing)
        init = _init(run, batch, number, lambda: larger(run, number, came_from, models.own))
    weights = models.own().weights  # reading them is no part of what is measured
    try:
        with _measured(run, weights, batch, number):
            return sample_pass(run, models, batch, number, init)
    except PausedError:
        step = run.pause_at.step if run.pause_at else 0
        for preview in paused_previews(run, _loaded(loader), batch, number, step):
            run.emit(preview)
        raise
    except NonFiniteError as error:
        if dtype == torch.float32:
            raise
        run.emit(
            Warning(
                code="float32", message=message("{problem} The job continues from there in float32.", problem=error)
            )
        )
        for index in batch.images:
            run.tape.go_float32(index, number, DENOISER, error.call)
    return sample_pass(run, _models(run, loader, batch, number, torch.float32), batch, number, init)


def _init(run: Run, batch: Batch, number: int, make: Callable[[], Init]) -> Init:
    """What a pass begins with: what the tape kept of it, else what is made."""
    if any(run.tape.init(index, number) is None for index in batch.images):
        for index, one in zip(batch.images, make().parted(), strict=True):
            if run.tape.init(index, number) is None:
                run.tape.keep_init(index, number, one.tensors())
    kept = [run.tape.init(index, number) or {} for index in batch.images]
    from_image = run.plan.passes[number].start == "image"
    return Init.joined([Init.of_tensors(each, run.device, from_image=from_image) for each in kept])


def _before(run: Run, loader: Loader, batch: Batch, number: int, drawn: Sequence[Drawn], drawing: _Drawing) -> Before:
    """What a pass goes on from. What the pass before drew is handed out where that is asked for, once."""
    if not drawn:
        return given_before(run, len(batch.images), _models(run, loader, batch, number - 1, run.dtype).own)
    before = drawn_before(run, torch.stack([each.latents for each in drawn]), lambda: _loaded(loader))
    if run.request.save_before_hires:
        for place, (index, each) in enumerate(zip(batch.images, drawn, strict=True)):
            if index not in drawing.shown and not run.tape.is_delivered(index, "before hires"):
                run.emit(before_hires(run, _loaded(loader), index, each, before.pictures()[place]))
                drawing.shown.add(index)
    return before


def _measured(run: Run, weights: int, batch: Batch, number: int) -> AbstractContextManager[None]:
    planned, first = run.plan.passes[number], batch.images[0]
    rows = len(batch.images) * (2 if run.request.batch_cond_uncond and run.request.cfg_scale != 1 else 1)
    size = planned.width * planned.height * rows
    return measured(run, weights, "sample", size, lambda: run.tape.recorded(first, number, DENOISER))


def _models(run: Run, loader: Loader, batch: Batch, number: int, dtype: torch.dtype) -> Models:
    def own() -> Model:
        model = loader.load(run, run.model_of(number), dtype, wanted(run.plan, number, batch.images[0]))
        run.pulse.phase = "sample"
        return model

    def refiner() -> Model:
        asked = run.refiner_of(number)
        assert asked  # else nothing is handed over
        return loader.load(run, asked, dtype, wanted(run.plan, number))  # no networks of the prompt, as in A1111

    return Models(own, refiner)


def _loaded(loader: Loader) -> Model:
    """The model in use."""
    assert loader.model  # something was drawn with it
    return loader.model

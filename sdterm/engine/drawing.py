"""Drawing a run that is open: batch after batch, pass after pass."""

import time
from dataclasses import replace

import torch

from sdterm.engine.device import memory_use
from sdterm.engine.finish import finish_image
from sdterm.engine.grid import Cell, emit_grid, makes_grid
from sdterm.engine.hires import larger
from sdterm.engine.loading import Loader, Model
from sdterm.engine.network_files import wanted
from sdterm.engine.recorder import CancelledError, NonFiniteError, PausedError
from sdterm.engine.run import Run
from sdterm.engine.sample import Batch, Drawn, Models, paused_previews, sample_pass
from sdterm.engine.sources import Sources
from sdterm.engine.tape import DENOISER
from sdterm.events import Cancelled, Done, Paused, Warning


def draw(run: Run, loader: Loader, sources: Sources) -> None:
    """All batches of its share, one after the other."""
    drawn, paused = 0, False
    cells: dict[int, Cell] = {}  # kept for the grid
    grid = not run.share.is_part and makes_grid(run)
    try:
        batches = run.batches()
        for number, images in run.share.batches(batches):
            try:
                batch = _sampled(run, loader, Batch(images, number, len(batches)), sources)
            except PausedError:
                paused = True
                continue
            run.pulse.phase = "decode"
            for index, image_drawn in zip(images, batch, strict=True):
                if run.cancel.is_set():
                    raise CancelledError
                finished = finish_image(run, _loaded(loader), index, image_drawn, sources)
                for side in finished.sides:
                    run.emit(side)
                run.emit(finished.image)
                drawn += 1
                if grid:
                    cells[index] = Cell(finished.pixels, finished.image.infotext)
    except CancelledError:
        run.emit(Cancelled(images=drawn))
        return
    if paused:
        at = run.pause_at
        run.emit(Paused(images=drawn, step=at.step if at else None, pass_no=at.pass_no if at else 0))
        return
    if grid and not run.share.is_part:
        emit_grid(run, cells)
    memory = memory_use(run.device)
    run.emit(
        Done(
            images=drawn,
            seconds=time.perf_counter() - run.began,
            memory_active=memory.active,
            memory_reserved=memory.reserved,
            memory_used=memory.used,
            memory_total=memory.total,
        )
    )


def _sampled(run: Run, loader: Loader, batch: Batch, sources: Sources) -> list[Drawn]:
    """A batch after its last pass."""
    drawn: list[Drawn] = []
    for number in range(len(run.plan.passes)):
        before, drawn = drawn, _sampled_pass(run, loader, batch, number, drawn, sources)
        if any(each.refined for each in before):
            drawn = [replace(each, refined=True) for each in drawn]
    return drawn


def _sampled_pass(
    run: Run, loader: Loader, batch: Batch, number: int, before: list[Drawn], sources: Sources
) -> list[Drawn]:
    """before: the batch after the pass before. What is not a number in half precision is tried again in float32, from
    the call where it arose."""
    dtype = torch.float32 if any(run.tape.is_float32(index, number) for index in batch.images) else run.dtype
    init, load = None, _models(run, loader, batch, number, dtype).own
    match run.plan.passes[number].start:
        case "image":
            init = sources.init(run, load(), [run.plan.images[index] for index in batch.images])
        case "pass":
            latents = torch.stack([each.latents for each in before])
            init = larger(run, number, latents, lambda: _loaded(loader), load)
    try:
        return sample_pass(run, _models(run, loader, batch, number, dtype), batch, number, init)
    except PausedError:
        step = run.pause_at.step if run.pause_at else 0
        for preview in paused_previews(run, _loaded(loader), batch, number, step):
            run.emit(preview)
        raise
    except NonFiniteError as error:
        if dtype == torch.float32:
            raise
        run.emit(Warning(code="float32", message=f"{error} Trying again from there in float32."))
        for index in batch.images:
            run.tape.go_float32(index, number, DENOISER, error.call)
    return sample_pass(run, _models(run, loader, batch, number, torch.float32), batch, number, init)


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

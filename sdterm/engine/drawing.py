"""Drawing a run that is open: batch after batch, pass after pass."""

import time

import torch

from sdterm.engine.device import memory_use
from sdterm.engine.finish import finish_image
from sdterm.engine.grid import Cell, emit_grid, makes_grid
from sdterm.engine.loading import Loader
from sdterm.engine.network_files import wanted
from sdterm.engine.recorder import CancelledError, NonFiniteError, PausedError
from sdterm.engine.run import Run
from sdterm.engine.sample import Batch, paused_previews, sample_pass
from sdterm.engine.tape import DENOISER
from sdterm.events import Cancelled, Done, Paused, Warning


def draw(run: Run, loader: Loader) -> None:
    """All batches, one after the other."""
    drawn, paused = 0, False
    cells: dict[int, Cell] = {}  # kept for the grid
    grid = makes_grid(run)
    try:
        batches = run.batches()
        for number, images in enumerate(batches):
            if not images:
                continue
            try:
                latents = _sampled(run, loader, Batch(images, number, len(batches)))
            except PausedError:
                paused = True
                continue
            run.pulse.phase = "decode"
            for index, image_latents in zip(images, latents, strict=True):
                if run.cancel.is_set():
                    raise CancelledError
                assert loader.model  # loaded to sample
                image, pixels = finish_image(run, loader.model, index, image_latents)
                run.emit(image)
                drawn += 1
                if grid:
                    cells[index] = Cell(pixels, image.infotext)
    except CancelledError:
        run.emit(Cancelled(images=drawn))
        return
    if paused:
        at = run.pause_at
        run.emit(Paused(images=drawn, step=at.step if at else None, pass_no=at.pass_no if at else 0))
        return
    if grid:
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


def _sampled(run: Run, loader: Loader, batch: Batch) -> torch.Tensor:
    """A batch's latents [B, C, h, w] after its last pass."""
    for number in range(len(run.plan.passes)):
        latents = _sampled_pass(run, loader, batch, number)
    return latents


def _sampled_pass(run: Run, loader: Loader, batch: Batch, number: int) -> torch.Tensor:
    """What is not a number in half precision is tried again in float32, from the call where it arose."""
    dtype = torch.float32 if any(run.tape.is_float32(index, number) for index in batch.images) else run.dtype
    networks = wanted(run.plan, number, batch.images[0])
    model = loader.load(run, run.model_of(number), dtype, networks)
    run.pulse.phase = "sample"
    try:
        return sample_pass(run, model, batch, number)
    except PausedError:
        for preview in paused_previews(run, model, batch, number, run.pause_at.step if run.pause_at else 0):
            run.emit(preview)
        raise
    except NonFiniteError as error:
        if model.dtype == torch.float32:
            raise
        run.emit(Warning(code="float32", message=f"{error} Trying again from there in float32."))
        for index in batch.images:
            run.tape.go_float32(index, number, DENOISER, error.call)
    del model  # its memory is needed for the next one
    return sample_pass(run, loader.load(run, run.model_of(number), torch.float32, networks), batch, number)

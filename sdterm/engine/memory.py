"""What a run needs of its device's memory: predicted before it begins, measured on its way, kept for the next."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.planning.ladder import Stage
from sdterm.core.planning.memory import (
    TILE,
    Drawing,
    Forecast,
    Measured,
    Place,
    all_tried,
    fitting,
    forecasts,
    largest,
    line,
    on,
)
from sdterm.core.settings.amounts import said
from sdterm.engine.device import device_name
from sdterm.engine.failures import OutOfMemoryError, failure
from sdterm.engine.ladder import computed, how_of, offered
from sdterm.engine.loading import facts_of
from sdterm.engine.meter import Meter
from sdterm.engine.run import Run
from sdterm.events import OUT_OF_MEMORY
from sdterm.fields import SIZE_STEP
from sdterm.messages import message

_MUCH = 0.75
"""The part of the room from which on a user is told what a job needs."""


@dataclass(frozen=True)
class Outlook:
    """What a run needs as it is asked for and on each step down the ladder, and the bytes that there are."""

    found: Sequence[Forecast]
    room: int
    """For this process, now."""
    total: int
    """If nobody else had any."""
    device: str
    all_tried: bool
    """Whether each step has been measured here, with a job of any size."""

    @property
    def chosen(self) -> Forecast | None:
        """The fastest that fits; guesses count only where nothing like it was measured."""
        known = self.found[0].measured
        return fitting([each for each in self.found if each.measured or not known], self.room)


def outlook(run: Run) -> Outlook:
    """Nothing is loaded for it."""
    assert run.meter
    place = _place(run, run.meter)
    known = run.meter.measurements.at(place)
    there = offered(run)
    found = forecasts(drawing_of(run), how_of(run), known, there, run.request.ladder)
    return Outlook(found, *run.meter.room(), place.device, all_tried(known, there))


def planned(run: Run) -> tuple[Run, str]:
    """The run as it needs no more memory than there is, the fastest way, and a sentence of that. What was not measured
    changes nothing: a guess may be wrong, and the ladder is there. Raises OutOfMemoryError."""
    there = outlook(run)
    first = there.found[0]
    if not first.measured:
        return run, ""
    if chosen := there.chosen:
        worth_saying = chosen is not first or chosen.peak > _MUCH * there.room
        return computed(run, chosen.how), line(chosen, there.room) if worth_saying else ""
    lightest = min(there.found, key=lambda each: each.peak)
    if run.request.ladder == "on" and there.all_tried and lightest.peak > there.total:
        raise OutOfMemoryError(
            message(
                "{width}x{height} needs about {needed} of memory in any case, and there are only {total}. {advice}",
                width=run.plan.width,
                height=run.plan.height,
                needed=said(lightest.peak),
                total=said(there.total),
                advice=_largest(run, there.total),
            )
        )
    return run, message("It may not fit: about {needed} of {room}.", needed=said(first.peak), room=said(there.room))


def _largest(run: Run, total: int) -> str:
    """What would fit, as a sentence."""
    assert run.meter
    known = run.meter.measurements.at(_place(run, run.meter))
    share = largest(drawing_of(run), how_of(run), known, offered(run), total) ** 0.5
    width, height = (int(side * share) // SIZE_STEP * SIZE_STEP for side in (run.plan.width, run.plan.height))
    if not width or not height:
        return message("No image size fits.")
    return message("The largest size of this shape that fits is about {width}x{height}.", width=width, height=height)


@contextmanager
def measured(run: Run, weights: int, stage: Stage, size: int, calls: Callable[[], int]) -> Iterator[None]:
    """Around a stage: what it needed is kept, if it did anything. weights: bytes of the model's. size: see
    `core/planning/memory.py`. calls: how many it has made."""
    meter = run.meter
    if not meter:
        yield
        return
    done, began, before = calls(), time.perf_counter(), max(meter.start(), meter.base + weights)

    def keep(fixed: int, peak: int, seconds: float) -> None:
        at = _place(run, meter)
        one = Measured(at.device, at.family, at.precision, on(how_of(run), stage), stage, size, fixed, peak, seconds)
        meter.measurements.add(one)

    try:
        yield
    except Exception as error:
        if (failed := failure(error)) and failed.code == OUT_OF_MEMORY:  # it needs at least a little more
            keep(before, max(before, meter.room()[0]) + 1, 0.0)
        raise
    if number := calls() - done:
        peak = max(meter.read(), before)
        keep(before, peak, (time.perf_counter() - began) / number)


def decoded_size(run: Run, pixels: int) -> int:
    """How many pixels are decoded at a time."""
    return min(pixels, TILE) if any(each.of.rung == "vae-tiling" for each in run.optimizers) else pixels


def drawing_of(run: Run) -> Drawing:
    """What is still to draw."""
    model = run.choices.first.model
    parts = facts_of(model, run.dtype).parts or {"": _weights(model.checkpoint) * run.dtype.itemsize}
    found = zip(run.plan.passes, run.choices.passes, strict=True)
    drawn = [(each, choices.sampler) for each, choices in found if each.start != "given"]
    passes = [(each.width * each.height, each.steps * sampler.calls_per_step) for each, sampler in drawn]
    images = sum(len(batch) for batch in run.batches())
    return Drawing(parts, run.dtype.itemsize, passes, images, run.request.cfg_scale != 1)


def _weights(checkpoint: CheckpointFile) -> int:
    """How many numbers there are in it."""
    return sum(map(prod, checkpoint.shapes().values()))


def _place(run: Run, meter: Meter) -> Place:
    """With what measurements of this run can be compared."""
    device = device_name(run.device) + (" (tensors)" if meter.limit.counted else "")
    return Place(device, run.choices.first.model.family.id, str(run.dtype).removeprefix("torch."))

"""Memory runs out: the run steps down the ladder and goes on from its tape."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sdterm.core.planning.ladder import How, Optimizer, Stage, step_down
from sdterm.engine.failures import OutOfMemoryError, failure
from sdterm.engine.loading import Loader, OptimizerError, facts_of, is_usable
from sdterm.engine.run import Run
from sdterm.events import OUT_OF_MEMORY, Event, SteppedDown, Warning
from sdterm.fields import Rung
from sdterm.hooks import MemoryOptimizer, ModelFacts, Pipeline, PluginError
from sdterm.messages import message, plural

T = TypeVar("T")
_DOING: dict[Stage, str] = {
    "load": message("while the model was loaded"),
    "sample": message("while sampling"),
    "decode": message("while encoding or decoding the image"),
}


def going_down(run: Run, loader: Loader, act: Callable[[Run], T]) -> tuple[Run, T]:
    """Act; where memory runs out, act again with what needs less, as long as there is something. Returns the run as it
    was at last. What acts is answered by the tape for what it had computed before."""
    while True:
        try:
            return run, act(run)
        except Exception as error:
            trouble = _trouble(run, error)
            if not trouble:
                raise
        # The error is gone here, and with it what its frames held of the device.
        caches = bool(loader.kept or run.upscaler.loaded)
        run.upscaler.asked, run.upscaler.loaded = (), None
        loader.free()
        run, said = _lighter(run, trouble, caches)
        run.emit(said)


def with_room(make: Callable[[], T], free: Callable[[], bool], emit: Callable[[Event], None]) -> T:
    """Make what needs no model for drawing; where memory runs out, again without those that are kept. free: lets go of
    them, and says whether there were any."""
    try:
        return make()
    except Exception as error:
        failed = failure(error)
        if not failed or failed.code != OUT_OF_MEMORY:
            raise
    if not free():
        raise OutOfMemoryError(failed.message)
    said = message("Out of memory. Models kept in memory were unloaded, and the job continues.")
    emit(SteppedDown(rung="drop-caches", message=said, phase="decode"))
    return make()


def begun(run: Run) -> Run:
    """The run as far down the ladder as its request wants it to begin."""
    if together := run.plan.together:
        fewer = min(run.request.batch_size, together)  # also where fewer are left: they keep their place in a batch
        run = replace(run, request=run.request.model_copy(update={"batch_size": fewer}))
    return computed(run, how_of(run).lowest(run.request.rungs, offered(run), run.plan.together))


def taken(run: Run) -> tuple[Optimizer, ...]:
    """The optimizers that are on for a step of the ladder."""
    return tuple(each for each in run.optimizers if each.of.rung in run.rungs)


def how_of(run: Run) -> How:
    largest = max((len(batch) for batch in run.batches()), default=1)
    apart = not run.request.batch_cond_uncond or isinstance(run.choices.first.model.family, Pipeline)  # who sees to it
    return How(run.optimizers, apart, largest, run.rungs)


def offered(run: Run) -> list[MemoryOptimizer]:
    """The optimizers that are steps of the ladder and can be used here."""
    model = facts_of(run.choices.first.model, run.dtype)
    return [each for each in run.plugins.all(MemoryOptimizer) if each.rung and _is_usable(run, each, model)]


def _is_usable(run: Run, optimizer: MemoryOptimizer, model: ModelFacts) -> bool:
    try:
        return is_usable(optimizer, run.plugins, run.device, model)[0]
    except PluginError:
        return False


def computed(run: Run, how: How) -> Run:
    """The run, computed like that."""
    fields: dict[str, object] = {"batch_cond_uncond": not how.apart}
    if how.batch < how_of(run).batch:
        fields |= {"batch_size": how.batch}
    request = run.request.model_copy(update=fields)
    return replace(run, request=request, optimizers=how.optimizers, rungs=how.rungs)


@dataclass(frozen=True)
class _Trouble:
    """Why a run cannot go on as it is: its memory ran out, or an optimizer of the ladder failed."""

    message: str
    stage: Stage
    optimizer: MemoryOptimizer | None = None
    slug: str | None = None


def _trouble(run: Run, error: Exception) -> _Trouble | None:
    """None where it is neither."""
    stage = run.pulse.phase if run.pulse.phase in _DOING else "sample"
    failed = failure(error)
    if failed and failed.code == OUT_OF_MEMORY:
        return _Trouble(failed.message, stage)
    if isinstance(error, OptimizerError) and any(each.of is error.optimizer for each in taken(run)):
        return _Trouble(str(error), stage, error.optimizer, error.slug)
    return None


def _lighter(run: Run, trouble: _Trouble, caches: bool) -> tuple[Run, SteppedDown | Warning]:
    """The run with what needs less memory, and what to say. caches: whether some were dropped. Raises OutOfMemoryError
    where nothing is left."""
    if trouble.optimizer:
        without = tuple(each for each in run.optimizers if each.of is not trouble.optimizer)
        said = message("{problem} The job continues without it.", problem=trouble.message)
        return replace(run, optimizers=without), Warning(code="optimizer_skipped", message=said, source=trouble.slug)
    now, there, ladder = how_of(run), offered(run), run.request.ladder
    dropped = now.below("drop-caches", there) if caches and ladder != "off" else None
    lower: tuple[How, Rung] | None = (
        (dropped, "drop-caches") if dropped else step_down(now, trouble.stage, there, ladder)
    )
    if not lower:
        raise OutOfMemoryError(trouble.message)
    how, rung = lower
    said = message(
        "Out of memory {phase}. {change} The job continues.", phase=_DOING[trouble.stage], change=_said(how, rung)
    )
    together = how.batch if rung == "split-batch" else None
    return computed(run, how), SteppedDown(rung=rung, message=said, phase=trouble.stage, together=together)


def _said(how: How, rung: Rung) -> str:
    """What is different from now on, as a sentence."""
    match rung:
        case "drop-caches":
            return message("Other models and caches were unloaded.")
        case "apart":
            return message("Prompt and negative prompt now run separately.")
        case "split-batch":
            return plural(
                "Images are now generated one at a time.", "Images are now generated {number} at a time.", how.batch
            )
    label = next(each.of.label for each in how.optimizers if each.of.rung == rung)
    return message("{optimizer} is on now.", optimizer=label)

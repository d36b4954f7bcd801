"""From one state to the next: what each entry of the host's stream changes."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sdterm.api import Entry, Health, JobView, Progress, Snapshot
from sdterm.events import (
    Cancelled,
    Done,
    ExtensionChanged,
    Failed,
    Image,
    Interrupted,
    ModelLoading,
    Paused,
    QueueChanged,
    Queued,
    Resumed,
    Started,
    Step,
    Waiting,
    Warning,
)
from sdterm.tui.state import Loading, Run, State

CHANGES_QUEUE = (Queued, Started, Done, Failed, Cancelled, Paused, Waiting, QueueChanged, Snapshot)
"""Events after which the queue's numbers are others."""


def after(state: State, entry: Entry) -> State:
    """The state once that has happened."""
    job, event = entry.job, entry.event
    match event:
        case Snapshot(jobs=jobs, queue=queue):
            return replace(state, runs=runs_of(jobs, entry.at)).counted(queue)
        case ModelLoading(done=True):
            return replace(state, loading=None, starting="")
        case ModelLoading(model=model, fraction=fraction):
            since = state.loading.since if state.loading and state.loading.model == model else entry.at
            return replace(state, loading=Loading(model, since, entry.at, fraction), starting="")
        case Warning(code="model_not_loaded"):
            return replace(state, loading=None)
        case Started(images=images):
            return _run(replace(state, trouble=""), Run(job or 0, images))
        case Step():
            return _run(state, _stepped(_of(state, job), event, entry.at))
        case Image():
            run = _of(state, job)
            return _run(state, replace(run, done=run.done + 1))
        case Interrupted() | Resumed():
            run = _of(state, job)
            trouble = "" if isinstance(event, Resumed) else state.trouble
            return _run(replace(state, trouble=trouble), replace(run, since=entry.at, first=run.step))
        case Failed(code=code) | Waiting(code=code):
            return replace(_without(state, job), trouble=code, loading=None)
        case ExtensionChanged(loaded=True) if state.trouble == "plugin_failed":
            return replace(state, trouble="")
        case Done() | Cancelled():
            return replace(_without(state, job), loading=None, trouble="")
        case Paused():
            return replace(_without(state, job), loading=None)
    return state


def runs_of(jobs: Iterable[JobView], at: float) -> tuple[Run, ...]:
    """Those of some jobs that are drawn, as they are at a time in seconds since 1970."""
    running = ((job, job.progress or Progress()) for job in jobs if job.state == "running")
    return tuple(
        Run(j.id, j.images, j.done, p.batch, p.batches, p.step, p.steps, at, p.step, at, p.pass_no, p.passes)
        for j, p in running
    )


def joined(state: State, jobs: Iterable[JobView], at: float) -> State:
    """With those of some jobs that are drawn and not known of yet: the host tells of a job only once it is prepared."""
    known = {run.job for run in state.runs}
    return replace(state, runs=(*(run for run in runs_of(jobs, at) if run.job not in known), *state.runs))


def looked_at(state: State, health: Health, running: Iterable[JobView], at: float) -> State:
    """As the host is now: events tell of a job only once it is prepared."""
    starting = next((worker.device for worker in health.workers if worker.phase == "starting"), "")
    return replace(joined(state, running, at), starting=starting).counted(health.queue)


def _of(state: State, job: int | None) -> Run:
    return next((run for run in state.runs if run.job == job), Run(job or 0))


def _run(state: State, run: Run) -> State:
    return replace(state, runs=(*_without(state, run.job).runs, run), loading=None, starting="")


def _without(state: State, job: int | None) -> State:
    return replace(state, runs=tuple(run for run in state.runs if run.job != job))


def _stepped(run: Run, step: Step, at: float) -> Run:
    told: dict[str, Any] = {"batch": step.batch, "batches": step.batches, "step": step.step, "steps": step.steps}
    told |= {"pass_no": step.pass_no, "passes": step.passes, "at": at}
    others = tuple(each for each in run.under_way if each[0] != step.batch)
    ends = step.step == step.steps and step.pass_no + 1 == step.passes
    now = others if ends else (*others, (step.batch, step.pass_no, step.step))
    told |= {"under_way": now, "told": run.told + 1}
    if len(now) > 1:  # several devices draw: one of their batches is shown
        told |= dict(zip(("batch", "pass_no", "step"), min(now), strict=True))
        if not run.is_shared:
            told |= {"since": at, "told": 0}
    elif (
        run.is_shared or step.pass_no != run.pass_no or step.batch != run.batch or not run.first or step.step < run.step
    ):
        told |= {"since": at, "first": step.step}
    return replace(run, **told)

"""What goes on, as a value, and its words for the status line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sdterm.core.text import printable
from sdterm.tui.language import tr

if TYPE_CHECKING:
    from sdterm.api import Queue

_BAR = 10  # cells
TROUBLES: Mapping[str, str] = {
    "out_of_memory": "out of memory",
    "disk_full": "disk full",
    "plugin_failed": "plugin failed",
    "needs_plugin": "extension missing",
    "no_device": "no device",
    "not_a_number": "not a number",
    "bad_request": "bad request",
    "bad_model": "bad model file",
    "bad_input": "bad image",
    "internal": "internal error",
    "worker_died": "process died",
    "worker_hung": "process stuck",
    "worker_unstartable": "process cannot start",
    "no_kernel": "GPU not supported",
    "illegal_memory_access": "GPU error",
    "misaligned_address": "GPU error",
    "ecc_error": "GPU memory error",
    "device_lost": "GPU lost",
    "tape_unusable": "record unusable",
}
"""What stopped a job, in a few words, by its code."""


@dataclass(frozen=True)
class Run:
    """A job that is drawn."""

    job: int
    images: int = 1
    done: int = 0
    batch: int = 0
    batches: int = 1
    step: int = 0
    steps: int = 0
    since: float = 0.0
    """When the batch's first step was done."""
    first: int = 0
    """Which step that was."""
    at: float = 0.0
    pass_no: int = 0
    passes: int = 1
    under_way: tuple[tuple[int, int, int], ...] = ()
    """(batch, pass, step) of the batches that have begun: several where several devices draw."""
    told: int = 0
    """How many steps of all of these were told since then."""

    @property
    def is_shared(self) -> bool:
        """Whether several devices draw it."""
        return len(self.under_way) > 1

    @property
    def share(self) -> float:
        """How much of the job is drawn, from 0 to 1."""
        before = (self.batch * self.passes + self.pass_no) * self.steps + self.step
        return before / max(1, self.batches * self.passes * self.steps)

    @property
    def pace(self) -> float:
        """Steps a second; 0 if that is not known yet."""
        taken = self.at - self.since
        steps = self.told if self.is_shared else self.step - self.first
        return steps / taken if taken > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the job is drawn, by the pace so far."""
        if not self.pace:
            return None
        if self.is_shared:
            batches = (self.images - self.done) * self.batches / max(1, self.images)
            had = sum(pass_no * self.steps + step for _, pass_no, step in self.under_way)
            return max(0.0, batches * self.passes * self.steps - had) / self.pace
        whole = (self.batches - self.batch - 1) * self.passes + self.passes - self.pass_no - 1  # passes behind this one
        return (self.steps - self.step + whole * self.steps) / self.pace


@dataclass(frozen=True)
class Loading:
    """A model that is being read. Times are seconds since 1970."""

    model: str
    since: float
    at: float
    fraction: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until it is read, by the pace so far."""
        if not self.fraction or self.at <= self.since:
            return None
        return (self.at - self.since) * (1 - self.fraction) / self.fraction


@dataclass(frozen=True)
class State:
    """Everything that the status line tells."""

    host: Literal["starting", "up", "lost"] = "starting"
    starting: str = ""
    """The device whose process is being started: before it is there nothing can be read or drawn."""
    loading: Loading | None = None
    runs: tuple[Run, ...] = ()
    queued: int = 0
    """Jobs that wait for their turn, or for something else."""
    next: int = 0
    """Those of them that wait for their turn only."""
    paused: bool = False
    """The queue as a whole."""
    trouble: str = ""
    """What stopped the last job, in short; empty when one went well since."""

    def run_of(self, job: int | None) -> Run | None:
        """What is known of a job that is drawn now."""
        return next((run for run in self.runs if run.job == job), None)

    @property
    def is_preparing(self) -> bool:
        """Whether there is work, and nobody has told yet how far it is."""
        return not self.runs[-1].steps if self.runs else bool(self.next and not self.paused)

    def counted(self, queue: Queue) -> State:
        """With the queue's own numbers."""
        ready = queue.counts.get("queued", 0)
        return replace(self, queued=ready + queue.counts.get("waiting", 0), next=ready, paused=queue.paused)


def words(state: State, model: str, seed: str, machine: str = "") -> list[str]:
    """The parts of the status line, what matters most first; whoever shows it drops the last ones for lack of room.
    machine: another one, which the host is on."""
    if state.host == "starting":
        if machine:
            return [tr("connecting to {machine} (write on; F5 queues)", machine=machine)]
        return [tr("engine starting (write on; F5 queues)")]
    if state.host == "lost":
        return [tr("! host lost: looking for it")]
    parts = []
    if state.runs:
        run = state.runs[-1]
        more = f" (+{len(state.runs) - 1})" if len(state.runs) > 1 else ""
        parts.append(f"> #{run.job}{more} {_progress(run) if run.steps else _preparing(state)}")
        if run.images > 1:
            parts.append(f"{run.done}/{run.images}")
        if run.pace:
            parts.append(f"{run.pace:.1f} it/s" if run.pace >= 1 else f"{1 / run.pace:.1f} s/it")
        if run.left is not None:
            parts.append(tr("ETA {time}", time=clock(run.left)))
    elif state.loading:
        parts.append(_preparing(state))
    elif state.trouble:
        parts.append("! " + tr(TROUBLES.get(state.trouble, printable(state.trouble.replace("_", " ")))))
    elif state.next and not state.paused:
        parts.append("> " + _preparing(state))
    else:
        parts.append(tr("idle"))
    if state.paused:
        parts.append(tr("queue paused"))
    parts += [tr("q{number}", number=state.queued), printable(model, 24), seed]
    return [part for part in parts if part]


def _preparing(state: State) -> str:
    """What is done before the first step, how far it is, and how long it takes still, where that is known."""
    if state.loading:
        said = tr("loading {model}", model=printable(state.loading.model, 30))
        if state.loading.fraction:
            said += f" {state.loading.fraction:.0%}"
        if state.loading.left is not None:
            said += ", " + tr("{time} left", time=clock(state.loading.left))
        return said
    if state.starting:
        if state.starting == "auto":  # nobody knows before it is there
            return tr("starting the worker")
        return tr("starting the {device} process", device="CPU" if state.starting.startswith("cpu") else "GPU")
    return tr("preparing")


def _progress(run: Run) -> str:
    share = run.step / max(1, run.steps)
    full = round(share * _BAR)
    return f"{passes(run)}{run.step}/{run.steps} [{'#' * full}{'-' * (_BAR - full)}] {share:.0%}"


def passes(run: Run) -> str:
    """Which pass a job is in, of one that has several."""
    return tr("pass {number}/{count}", number=run.pass_no + 1, count=run.passes) + " " if run.passes > 1 else ""


def clock(seconds: float) -> str:
    """`8s`, `2:05`, `1:02:03`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""What the host draws on, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdterm.core.text import printable
from sdterm.tui.language import said, tr
from sdterm.tui.state import Run

if TYPE_CHECKING:
    from sdterm.api import WorkerView

_GB = 2**30


def are_worth_a_line(workers: Sequence[WorkerView]) -> bool:
    """Whether there is more to tell than that the CPU draws."""
    return len(workers) > 1 or any(worker.temperature is not None for worker in workers)


def line(worker: WorkerView, run: Run | None) -> str:
    """A device: name, memory, temperature, and what it does. run: the job that it draws."""
    memory = ""
    if worker.memory_used is not None and worker.memory_total:
        memory = f"{worker.memory_used / _GB:.1f}/{worker.memory_total / _GB:.1f} GB"
    warmth = f"{worker.temperature} °C" if worker.temperature is not None else ""
    name, hardware = printable(worker.device, 10), printable(worker.hardware, 28)
    facts = (f"{name:<8}", f"{hardware:<18}", f"{memory:<14}", f"{warmth:<6}", _doing(worker, run))
    return " ".join(fact for fact in facts if fact.strip())


def _doing(worker: WorkerView, run: Run | None) -> str:
    if worker.trouble:
        return "! " + printable(said(worker.trouble), 200)
    drained = tr("takes no new jobs")
    if worker.job:
        steps = f" {run.step}/{run.steps}" if run and run.steps else ""
        return f"> #{worker.job}{steps}" + (f" ({drained})" if worker.drained else "")
    if worker.drained:
        return drained
    if worker.phase == "starting":
        return tr("starting")
    return tr("idle, with {model}", model=printable(worker.model, 30)) if worker.model else tr("idle")

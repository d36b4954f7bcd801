"""Which device draws which job: one like that on which it was begun, where its model is in memory, else where no model
has to go, else the one with most memory free."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A device that draws nothing now."""

    device: str
    models: frozenset[str] = frozenset()
    """The names of those in its memory."""
    free: int | None = None
    """Bytes of its memory, where that is known."""
    is_running: bool = False
    """Whether its process runs."""
    hardware: str = ""
    """What it is; empty if that is not known."""


@dataclass(frozen=True)
class WaitingJob:
    """A job that waits for its turn."""

    id: int
    model: str = ""
    """The name of its checkpoint's file."""
    device: str | None = None
    """The only device that may draw it."""
    hardware: str = ""
    """On what it was begun: what is computed on another is not the same to the bit, so it would begin again there."""


def placed(jobs: Sequence[WaitingJob], candidates: Sequence[Candidate], known: frozenset[str]) -> dict[str, int]:
    """Device → the job that it draws next. Jobs come in the queue's order, and each takes the device that suits it
    best. known: all devices of the host; a job that is pinned to another one goes anywhere, where it is told so."""
    found: dict[str, int] = {}
    for job in jobs:
        able = [each for each in candidates if each.device not in found]
        if job.device in known:
            able = [each for each in able if each.device == job.device]
        elif job.hardware and (alike := _alike(job.hardware, candidates)):
            able = [each for each in able if each in alike]
        if able:
            found[max(able, key=lambda each: _suits(job, each)).device] = job.id
    return found


def _alike(hardware: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those of that hardware, else those that may be of it."""
    found = [each for each in candidates if each.hardware == hardware]
    return found or [each for each in candidates if not each.hardware]


def _suits(job: WaitingJob, candidate: Candidate) -> tuple[float, ...]:
    """The larger the better; of equals the first one of the host's devices is taken."""
    return (
        job.model in candidate.models if job.model else bool(candidate.models),
        not candidate.models,
        candidate.is_running,
        candidate.free or 0,
    )

"""The tape files of jobs. A job has one for each process that draws at it at the same time: `7.tape`, `7-2.tape` …"""

import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"([0-9]+)(?:-[0-9]+)?\.tape")


def tape(folder: Path, job: int, share: int = 1) -> Path:
    """Where a share of a job is recorded, by its number from 1."""
    return folder / (f"{job}.tape" if share == 1 else f"{job}-{share}.tape")


def job_of(path: Path) -> int | None:
    """Whose tape a file is; None if it is nobody's."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def all_tapes(folder: Path) -> Iterator[tuple[int, Path]]:
    """(job, tape) of all that there are."""
    for path in sorted(folder.glob("*.tape")):
        if (job := job_of(path)) is not None:
            yield job, path


def tapes_of(folder: Path, job: int) -> list[Path]:
    """Those of a job that there are."""
    return [path for path in sorted(folder.glob(f"{job}*.tape")) if job_of(path) == job]


def forget(folder: Path, job: int) -> None:
    """Delete those of a job. Raises OSError."""
    for path in tapes_of(folder, job):
        path.unlink(missing_ok=True)

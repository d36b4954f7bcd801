"""Who draws which images of a job: what is given up, lost and saved, without a process that draws."""

from pathlib import Path

import pytest

from sdterm.host.drawings import Drawing
from sdterm.host.worker import WorkerProcess
from tests.host.conftest import settings_of


@pytest.fixture
def workers(tmp_path: Path) -> tuple[WorkerProcess, WorkerProcess]:
    settings = settings_of(tmp_path)
    return WorkerProcess("cpu:0", settings, tmp_path), WorkerProcess("cpu:1", settings, tmp_path)


def test_one_alone_has_all_that_is_known(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    drawing = Drawing(1, 0.0)
    part = drawing.begin(workers[0], None)
    drawing.known({0, 1, 2, 3})
    assert part.images == {0, 1, 2, 3} and not drawing.loose() and not drawing.is_shared
    drawing.saved(0, Path("/0.png"))
    assert part.images == {1, 2, 3} and drawing.giver() is None, "it has not begun"
    part.may_give = True
    assert drawing.giver() is part


def test_what_is_given_up_or_lost_is_for_the_next_one(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    drawing = Drawing(1, 0.0)
    first = drawing.begin(workers[0], None)
    drawing.known({0, 1, 2, 3})
    first.may_give = True
    drawing.released(workers[0], [2, 3])
    assert drawing.loose() == {2, 3} and drawing.is_shared
    second = drawing.begin(workers[1], drawing.loose())
    assert second.number == 2 and not drawing.loose()
    drawing.saved(2, Path("/2.png"))
    drawing.leave(workers[1])
    assert drawing.loose() == {3} and drawing.drawn == {2: Path("/2.png")}
    drawing.released(workers[0], [])
    assert drawing.giver() is None, "it has no batch more that has not begun"
    assert drawing.begin(workers[1], {3}).number == 2, "and goes on with its own tape"


def test_what_stands_at_a_step_is_for_nobody(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    drawing = Drawing(1, 0.0)
    drawing.begin(workers[0], None)
    drawing.known({0, 1})
    drawing.leave(workers[0], standing=True)
    assert not drawing.loose() and not drawing.parts

"""Observers in a real worker: told by it what the host saved, and never at a job's expense."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from sdterm.events import Done, Interrupted, Warning
from tests.host.running import Running, images, running, wait_until

SMALL = {"steps": 2, "width": 64, "height": 64}

CODE = """
import json
from pathlib import Path
from sdterm.hooks import Observer, hookimpl

LOG = Path({log!r})

def note(**said):
    with LOG.open("a") as file:
        file.write(json.dumps(said) + "\\n")

def saved(image):
    note(path=str(image.path), there=image.path.is_file(), seed=image.seed)

def finished(outcome):
    note(state=outcome.state, saved=[str(path) for path in outcome.saved])
    {harm}

@hookimpl
def sdterm_observers():
    return [Observer("mine", "Mine", on_image_saved=saved, on_job_finished=finished)]
"""


class Observed:
    """A host and an observer in its folder."""

    def __init__(self, host: Running, folder: Path) -> None:
        self.host, self.client = host, host.client
        self.file, self.log = host.settings.root / "extensions" / "mine.py", folder / "log"

    def write(self, harm: str = "pass") -> None:
        self.file.write_text(dedent(CODE).format(log=str(self.log), harm=harm))
        wait_until(lambda: self.state() == "serving")

    def state(self) -> str | None:
        return next((each.state for each in self.client.extensions() if each.slug == "mine"), None)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def running_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("data"), SDTERM_HANG_LIMIT="3") as host:
        yield host


@pytest.fixture
def observed(running_host: Running, tmp_path: Path) -> Iterator[Observed]:
    it = Observed(running_host, tmp_path)
    yield it
    it.file.unlink(missing_ok=True)
    wait_until(lambda: it.state() is None)


@pytest.mark.heavy
def test_the_worker_tells_where_the_host_saved_each_image_and_how_the_job_ended(observed: Observed) -> None:
    observed.write()
    events = observed.host.events(observed.host.submit(**SMALL, batch_count=2))
    paths = [image.path for image in images(events)]
    assert observed.lines() == [
        {"path": paths[0], "there": True, "seed": 7},
        {"path": paths[1], "there": True, "seed": 8},
        {"state": "done", "saved": paths},
    ]


@pytest.mark.heavy
def test_one_that_fails_in_three_jobs_is_disabled_and_no_job_fails(observed: Observed) -> None:
    observed.write("raise OSError('no route')")
    for _ in range(3):
        events = observed.host.events(observed.host.submit(**SMALL))
        (warning,) = [event for event in events if isinstance(event, Warning)]
        assert isinstance(events[-1], Done) and warning.source == "mine"
        assert "The observer Mine of mine failed: OSError: no route (mine.py:" in warning.message
    wait_until(lambda: observed.state() == "aside")
    before = len(observed.lines())
    assert isinstance(observed.host.events(observed.host.submit(**SMALL))[-1], Done)
    assert len(observed.lines()) == before


@pytest.mark.heavy
def test_one_that_hangs_costs_processes_until_it_is_disabled_and_the_job_is_done_without_it(observed: Observed) -> None:
    observed.write("import time; time.sleep(1000)")
    job = observed.host.submit(**SMALL)
    events = observed.host.events(job)
    lost = [event for event in events if isinstance(event, Interrupted)]
    assert isinstance(events[-1], Done) and len(images(events)) == 1
    assert [event.code for event in lost] == ["worker_hung"] * 3 and "extension mine" in lost[0].message
    assert [line["state"] for line in observed.lines() if "state" in line] == ["done"] * 3
    wait_until(lambda: observed.state() == "aside")

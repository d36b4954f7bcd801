"""A pipeline's job survives kill -9 of the process that draws it, and of the host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.events import Resumed
from tests.host.running import Running, images, names, running, steps
from tests.pipelines.conftest import Folder
from tests.pipelines.test_matrix import SETUPS

LONG = {"flux": 120, "sdxl": 120, "tomorrow": 1000}
"""Steps, so many that there is time to kill what draws them."""


@pytest.fixture(scope="module")
def host(root: Path) -> Iterator[Running]:
    with running(root, SDTERM_DEVICE="cpu") as it:
        yield it


@pytest.mark.heavy
@pytest.mark.parametrize("name", LONG)
def test_a_killed_pipeline_goes_on_where_it_was(name: str, host: Running, folder: Folder) -> None:
    folder(name)
    setup = next(each for each in SETUPS if each.name == name)
    asked = setup.asked(steps=LONG[name], sampler="Pipeline").model_dump(exclude_unset=True)
    job = host.submit(**asked)
    host.at_step(job, 17)
    host.worker.kill()
    events = host.events(job)
    (whole,) = images(host.events(host.submit(**asked)))
    assert names(events, "interrupted", "resumed", "failed", "image") == ["interrupted", "resumed", "image"]
    assert steps(events) == [(0, step) for step in range(1, LONG[name] + 1)], "each step is told once"
    resumed = next(event for event in events if isinstance(event, Resumed))
    assert resumed.calls >= 17
    assert images(events)[0].pixel_hash == whole.pixel_hash


@pytest.mark.heavy
def test_a_pipelines_job_outlives_its_host(host: Running, folder: Folder) -> None:
    folder("flux")
    asked = SETUPS[0].asked(steps=LONG["flux"], sampler="Pipeline").model_dump(exclude_unset=True)
    (whole,) = images(host.events(host.submit(**asked)))
    job = host.submit(**asked)
    host.at_step(job, 30)
    host.kill_host()
    host.again()
    assert images(host.events(job))[0].pixel_hash == whole.pixel_hash

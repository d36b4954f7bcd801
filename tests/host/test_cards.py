"""Several devices: who draws what, and that a job which several draw is the same job."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sdterm.api import Submission
from sdterm.client import RefusedError
from sdterm.events import Cancelled, Done, Event, Image, Paused, Resumed, Step, Waiting
from sdterm.request import make_request
from tests.host.running import Running, images, names, running, wait_until

pytestmark = pytest.mark.heavy  # processes that load torch, and draw for seconds
SPREAD = {"steps": 12, "width": 64, "height": 64, "batch_count": 6, "batch_size": 2}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two processes of one thread each."""
    with running(tmp_path_factory.mktemp("data"), SDTERM_DEVICE="cpu,cpu", OMP_NUM_THREADS="1") as it:
        yield it


@pytest.fixture(autouse=True)
def both_are_up(request: pytest.FixtureRequest) -> None:
    """One that died before comes back once there is work for it alone."""
    if "host" in request.fixturenames:
        host: Running = request.getfixturevalue("host")
        jobs = [host.client.submit(submission(steps=1, device=name)).id for name in ("cpu:0", "cpu:1")]
        assert [names(host.events(job))[-1] for job in jobs] == ["done", "done"]


@pytest.fixture(scope="module")
def alone(host: Running) -> list[Image]:
    """The images of that job where one device draws it."""
    return by_number(host.events(host.submit(**SPREAD, spread="off")))


def by_number(events: list[Event]) -> list[Image]:
    return sorted(images(events), key=lambda image: image.index)


def drawing(host: Running, job: int) -> set[str]:
    return {worker.device for worker in host.client.health().workers if worker.job == job}


def workers(host: Running) -> dict[str, psutil.Process]:
    found: dict[str, psutil.Process] = {}
    for each in host.client.health().workers:
        with suppress(psutil.NoSuchProcess):  # it ended while it was told
            found |= {each.device: psutil.Process(each.pid)} if each.pid else {}
    return found


def assert_same(events: list[Event], alone: list[Image]) -> None:
    found = by_number(events)
    assert [image.index for image in found] == [image.index for image in alone], "each once"
    assert [image.pixel_hash for image in found] == [image.pixel_hash for image in alone]
    assert [image.seed for image in found] == [image.seed for image in alone]
    paths = [Path(image.path or "") for image in found]
    assert len({*paths}) == len(paths) and all(path.is_file() for path in paths)


def test_the_batches_of_a_job_are_drawn_on_both_devices_and_are_the_same(host: Running, alone: list[Image]) -> None:
    job = host.submit(**SPREAD, grid=True)
    wait_until(lambda: drawing(host, job) == {"cpu:0", "cpu:1"})
    events = host.events(job)
    assert_same(events, alone)
    assert names(events, "grid", "done", "started") == ["started", "grid", "done"], "one grid, of all, at the end"
    done = events[-1]
    assert isinstance(done, Done) and done.images == 12
    told = [(step.batch, step.step) for step in events if isinstance(step, Step)]
    assert sorted(told) == [(batch, step) for batch in range(6) for step in range(1, 13)], "each step once"


def test_spread_off_is_one_device_alone(host: Running) -> None:
    job = host.submit(**SPREAD, spread="off")
    for entry in host.entries(job):
        if isinstance(entry.event, Step):
            assert len(drawing(host, job)) <= 1
        if isinstance(entry.event, Done):
            break


LONG = {"steps": 25, "width": 128, "height": 128, "batch_count": 4}


@pytest.fixture(scope="module")
def long_alone(host: Running) -> list[Image]:
    return by_number(host.events(host.submit(**LONG, spread="off")))


def both_draw(host: Running, job: int) -> None:
    """Wait until both devices are in the middle of a batch of a job."""
    at: dict[int, int] = {}
    for entry in host.entries(job):
        if isinstance(entry.event, Step):
            at[entry.event.batch] = entry.event.step
        if sum(3 <= step <= 18 for step in at.values()) == 2:
            return
    raise AssertionError(f"both never drew at the same time: {at}")


@pytest.mark.parametrize("which", ["cpu:0", "cpu:1"])
def test_a_device_that_dies_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    host: Running, long_alone: list[Image], which: str
) -> None:
    job = host.submit(**LONG)
    both_draw(host, job)
    workers(host)[which].kill()
    events = host.events(job)
    assert_same(events, long_alone)
    assert names(events, "interrupted", "done", "failed") == ["interrupted", "done"]
    told = [(step.batch, step.step) for step in events if isinstance(step, Step)]
    assert sorted(told) == [(batch, step) for batch in range(4) for step in range(1, 26)], "each step once"


def test_a_host_that_dies_goes_on_with_what_each_device_had(host: Running, long_alone: list[Image]) -> None:
    job = host.submit(**LONG)
    both_draw(host, job)
    host.kill_host()
    host.again()
    events = host.events(job)
    assert_same(events, long_alone)
    resumed = {event.batch for event in events if isinstance(event, Resumed) and event.step}
    assert len(resumed) == 2, "both batches went on from their tapes"


def test_a_job_of_several_devices_is_paused_and_goes_on(host: Running, long_alone: list[Image]) -> None:
    job = host.submit(**LONG)
    both_draw(host, job)
    host.client.pause(job)
    assert names(host.events(job))[-1] == "paused" and drawing(host, job) == set()
    seen = max(entry.number for entry in host.entries(job))
    host.client.resume(job)
    first = [entry.event for entry in host.entries(job) if entry.number <= seen]
    rest = [entry.event for entry in host.entries(job, after=seen)]
    assert_same([*first, *rest], long_alone)
    assert names(rest)[-1] == "done"


def test_paused_at_a_step_all_batches_stand_there(host: Running, long_alone: list[Image]) -> None:
    job = host.submit(**LONG, pause_at=9)
    events = host.events(job)
    told = [(step.batch, step.step) for step in events if isinstance(step, Step)]
    assert sorted(told) == [(batch, step) for batch in range(4) for step in range(1, 10)] and not images(events)
    assert isinstance(events[-1], Paused) and names(events).count("paused") == 1
    seen = max(entry.number for entry in host.entries(job))
    host.client.resume(job)
    rest = [entry.event for entry in host.entries(job, after=seen)]
    assert_same(rest, long_alone)
    told = [(step.batch, step.step) for step in rest if isinstance(step, Step)]
    assert sorted(told) == [(batch, step) for batch in range(4) for step in range(10, 26)], "nothing is drawn again"


def test_cancelled_it_stops_on_all_devices(host: Running) -> None:
    job = host.submit(**LONG)
    both_draw(host, job)
    host.client.cancel(job)
    events = host.events(job)
    assert isinstance(events[-1], Cancelled) and names(events).count("cancelled") == 1
    wait_until(lambda: drawing(host, job) == set())
    assert not [*(host.settings.root / "run" / "tapes").glob(f"{job}*.tape")]


def test_a_job_that_waits_comes_before_helping_with_one(host: Running) -> None:
    jobs = [host.submit(**LONG), host.submit(**LONG)]
    for job in jobs:
        host.at_step(job, 1)
    assert [len(drawing(host, job)) for job in jobs] == [1, 1]
    for job in jobs:
        host.client.cancel(job)
        host.events(job)


def test_jobs_are_taken_while_nobody_knows_what_another_device_is(tmp_path: Path) -> None:
    """It is known once its process has started, which takes seconds."""
    with running(tmp_path / "data", SDTERM_DEVICE="cpu,cpu", OMP_NUM_THREADS="1") as other:
        small = {"steps": 1, "width": 64, "height": 64}
        other.events(other.submit(**small))
        other.client.pause_queue()
        _, long, late = (other.submit(**each) for each in (small, small | {"steps": 1000}, small))
        other.client.resume_queue()
        assert names(other.events(late))[-1] == "done"
        assert other.client.job(long).state == "running"
        other.client.cancel(long)
        other.events(long)


def test_a_pinned_job_is_drawn_on_its_device_alone(host: Running) -> None:
    jobs = [host.client.submit(submission(steps=6, batch_count=3, device=name)).id for name in ("cpu:1", "cpu:1")]
    for job in jobs:
        for entry in host.entries(job):
            assert drawing(host, job) <= {"cpu:1"}
            if isinstance(entry.event, Done):
                break
    assert host.client.job(jobs[0]).device == "cpu:1"
    for name in ("cuda:7", "cpu"):
        with pytest.raises(RefusedError, match="This host uses cpu:0, cpu:1") as refused:
            host.client.submit(submission(device=name))
        assert refused.value.field == "device"


def test_a_drained_device_finishes_and_takes_nothing_new(host: Running) -> None:
    job = host.client.submit(submission(steps=40, device="cpu:1")).id
    host.at_step(job, 1)
    assert host.client.drain("cpu:1").drained
    assert names(host.events(job))[-1] == "done", "what it draws is finished"
    wait_until(lambda: workers(host).keys() == {"cpu:0"})
    other = host.submit(**SPREAD)
    assert names(host.events(other))[-1] == "done" and workers(host).keys() == {"cpu:0"}
    waits = host.client.submit(submission(device="cpu:1")).id
    host.client.stop()
    host.again()
    assert [each.drained for each in host.client.health().workers] == [False, True], "the next host knows it"
    assert host.client.job(waits).state == "queued"
    assert not host.client.resume_device("cpu:1").drained
    assert names(host.events(waits))[-1] == "done"


def test_a_job_of_a_device_that_the_host_has_not_waits_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_DEVICE="cpu,cpu", OMP_NUM_THREADS="1") as host:
        host.client.pause_queue()
        job = host.client.submit(submission(device="cpu:1")).id
    with running(tmp_path / "data", SDTERM_DEVICE="cpu", OMP_NUM_THREADS="1") as host:
        host.client.resume_queue()
        waits = [entry.event for entry in host.entries(job, ends=(Waiting,))][-1]
        assert isinstance(waits, Waiting) and waits.code == "no_device" and "pinned to cpu:1" in waits.message
        host.client.pin(job)
        assert names(host.events(job))[-1] == "done"


def submission(*, device: str | None = None, **fields: object) -> Submission:
    request = make_request(**{"prompt": "sunset, lake", "steps": 4, "width": 64, "height": 64, "seed": 7} | fields)
    return Submission(request=request, device=device)


def test_two_hosts_with_two_data_folders_draw_at_the_same_time(tmp_path: Path) -> None:
    """As the guide to A1111 has two installations on two cards."""
    with (
        running(tmp_path / "one", SDTERM_DEVICE="cpu", OMP_NUM_THREADS="1") as one,
        running(tmp_path / "two", SDTERM_DEVICE="cpu:1", OMP_NUM_THREADS="1") as two,
    ):
        both = [(host, host.client.submit(submission(steps=40, batch_count=100)).id) for host in (one, two)]
        first, second = (
            next(entry.event for entry in host.entries(job) if isinstance(entry.event, Image)) for host, job in both
        )
        assert [[each.job for each in host.client.health().workers] for host, _ in both] == [[1], [1]]
        for host, job in both:
            host.client.cancel(job)
        assert first.pixel_hash == second.pixel_hash
        assert Path(first.path or "").is_relative_to(tmp_path / "one")
        assert Path(second.path or "").is_relative_to(tmp_path / "two")

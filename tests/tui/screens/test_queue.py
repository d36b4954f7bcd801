"""The Queue's devices: what they are and do, a job for one of them, one that takes nothing new."""

from collections.abc import Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from sdterm.tui.app import Workstation
from tests.host.running import Running, running
from tests.tui.conftest import drive, screen_text, text_of, until


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two devices that draw nothing: their queue is on hold."""
    with running(tmp_path_factory.mktemp("data"), SDTERM_DEVICE="cpu,cpu") as found:
        found.client.pause_queue()
        yield found


def test_devices_are_shown_drained_and_given_a_job_by_keys(host: Running) -> None:
    job = host.submit(prompt="a lake")

    async def act(app: Workstation, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.state.host == "up", "the host")
        await pilot.press("f4")
        await until(pilot, lambda: "a lake" in screen_text(app), "the job")
        devices = app.screen.query_one(".devices", Static)
        await until(pilot, lambda: "cpu:1" in text_of(devices) and "GB" in text_of(devices), "two devices")
        assert [line.split()[0] for line in text_of(devices).splitlines()] == ["cpu:0", "cpu:1"]
        assert all("idle" in line for line in text_of(devices).splitlines())
        await pilot.press("o", "down", "down", "enter")
        await until(pilot, lambda: "It runs on cpu:1 alone." in screen_text(app), "its device")
        assert host.client.job(job).device == "cpu:1"
        await pilot.press("d", "down", "enter")
        await until(pilot, lambda: "takes no new jobs" in text_of(devices).splitlines()[1], "that it is drained")
        assert [worker.drained for worker in host.client.health().workers] == [False, True]

    drive(host, act)

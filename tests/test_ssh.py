"""A host on another machine through SSH, with a real sshd."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.api import Submission
from sdterm.client import HostError, connect, reach
from sdterm.core.settings.settings import Settings, resolve
from sdterm.events import Done, Step
from sdterm.request import make_request
from sdterm.ssh import SshError, Tunnel, tunnel
from tests.sshd import NAME, Machine, machine, needs_sshd

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("ssh") / "a box") as it:
        yield it


@pytest.fixture
def settings(gpu_box: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("PATH", gpu_box.path)
    yield resolve({}, {"SDTERM_DATA": str(tmp_path / "here"), "SDTERM_CONNECT": NAME})
    tunnel(NAME).close()
    tunnel.cache_clear()


def test_a_line_that_is_cut_comes_back_and_no_event_is_missed(gpu_box: Machine, settings: Settings) -> None:
    with connect(settings) as host:
        request = make_request(prompt="lake", steps=40, width=64, height=64, seed=1)
        job = host.submit(Submission(request=request)).id
        steps, cut = [], 0
        for entry in host.events(job=job, after=0):
            if isinstance(entry.event, Step):
                steps.append(entry.event.step)
                if len(steps) in (5, 20):
                    for connection in gpu_box.connections():
                        os.kill(connection, signal.SIGKILL)
                        cut += 1
            if isinstance(entry.event, Done):
                break
        assert cut >= 2
        assert steps == [*range(1, 41)]


@pytest.mark.heavy
def test_what_cannot_be_reached_is_said_in_a_sentence(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, words in (
        ("-oProxyCommand=touch x", "is not a machine"),
        ("nobody@127.0.0.1", "SSH to nobody@127.0.0.1 failed"),
        (f"{NAME}:/no/such/folder", "sdterm does not start on gpu-box"),
    ):
        with pytest.raises(SshError, match=words):
            opened = Tunnel(target)
            try:
                opened.open()
            finally:
                opened.close()
    with machine(tmp_path / "closed", forwards="no") as closed:
        monkeypatch.setenv("PATH", closed.path)
        opened = Tunnel(NAME)
        with pytest.raises(HostError, match="may not forward sockets"):
            reach(opened)
        opened.close()

"""A host on another machine through SSH, with a real sshd."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sdterm.api import Submission
from sdterm.client import HostError, connect, reach
from sdterm.core.settings.settings import Settings, resolve
from sdterm.events import Done, Step
from sdterm.request import make_request
from sdterm.ssh import SshError, Tunnel, tunnel
from tests.host.running import wait_until
from tests.sshd import NAME, Machine, machine, needs_sshd

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    mine = {"ControlMaster": "auto", "ControlPersist": "yes", "RemoteCommand": "top", "RequestTTY": "force"}
    with machine(tmp_path_factory.mktemp("ssh") / "a box", **mine) as it:
        yield it


@pytest.fixture
def settings(gpu_box: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("PATH", gpu_box.path)
    yield resolve({}, {"SDTERM_DATA": str(tmp_path / "here"), "SDTERM_CONNECT": NAME})
    tunnel(NAME).close()
    tunnel.cache_clear()


@pytest.mark.heavy
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
def test_a_host_that_its_owner_stopped_stays_stopped(
    gpu_box: Machine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdterm.client._BACK_WITHIN", 0.5)
    with connect(settings) as host:
        after = host.health().last_event
        job = host.submit(Submission(request=make_request(prompt="lake"), paused=True)).id
        events = host.events(after=after)
        assert next(events).job == job
        gpu_box.run("host", "stop")
        assert not [entry for entry in events if entry.job != job], "they end, and are not lost"
    with pytest.raises(HostError):
        connect(settings, start=False)
    tunnel(NAME).close()  # what another process would find
    tunnel.cache_clear()
    with pytest.raises(HostError, match="No host is running on gpu-box"):
        connect(settings, start=False)
    assert json.loads(gpu_box.run("host", "status", "--json")) == {"running": False}
    connect(settings).close()
    connect(settings, start=False).close()


LINE = """
import os, signal, sys
from sdterm.client import connect
from sdterm.core.settings.settings import resolve

with connect(resolve({}, {"SDTERM_DATA": sys.argv[1], "SDTERM_CONNECT": sys.argv[2]})) as host:
    print("open", flush=True)
    for word in sys.stdin:
        print(host.health().pid, flush=True)
"""


@pytest.mark.heavy
def test_ctrl_c_is_not_for_the_line_which_ends_with_the_process_that_opened_it(
    gpu_box: Machine, settings: Settings, tmp_path: Path
) -> None:
    """The user's configuration keeps connections in the background; those that are ours are not."""
    command = [sys.executable, "-c", f"import signal; signal.signal(signal.SIGINT, lambda *_: None)\n{LINE}"]
    opened = subprocess.Popen(
        [*command, str(tmp_path), NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert opened.stdin and opened.stdout
    with opened.stdin, opened.stdout:
        assert opened.stdout.readline() == "open\n"
        line = lines_of(opened.pid)
        assert len(line) == 1
        os.killpg(opened.pid, signal.SIGINT)
        opened.stdin.write("ask\n")
        opened.stdin.flush()
        assert opened.stdout.readline().strip().isdecimal()
        assert lines_of(opened.pid) == line
        opened.kill()
        opened.wait(60)
        wait_until(lambda: not any(map(psutil.pid_exists, line)))


def lines_of(process: int) -> list[int]:
    return [child.pid for child in psutil.Process(process).children() if child.name() == "ssh"]


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

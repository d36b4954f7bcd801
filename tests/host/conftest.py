"""A host as a user has it: a process of its own, with its own data folder, reached over its socket."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sdterm.api import Submission
from sdterm.client import Client, connect
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.core.settings.settings import Settings, resolve
from sdterm.host.services import HostServices
from sdterm.request import make_request
from tests.host.running import Running, running

ENDS_WITHIN = 20.0  # seconds

StartHost = Callable[..., Client]


def settings_of(data: Path, **settings: str) -> Settings:
    """A host's settings, each given as `SDTERM_<KEY>` would be."""
    return resolve({}, {"SDTERM_DATA": str(data)} | {f"SDTERM_{key.upper()}": value for key, value in settings.items()})


def hosts(data: Path) -> list[psutil.Process]:
    """The host and worker processes of a data folder."""
    named = json.dumps(str(data))[1:-1]  # as it is in their command line
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if any(module in command for module in ("sdterm.host", "sdterm.worker")) and any(named in c for c in command):
            found.append(process)
    return found


@pytest.fixture(scope="session")
def start_shared_host() -> Iterator[StartHost]:
    yield from _hosts()


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """`start_host(data, **settings)`: a client of a host of that folder, with settings in the words of `SDTERM_*`.
    At the end all are told to stop, and none of their processes may be left."""
    yield from _hosts()


def _hosts() -> Iterator[StartHost]:
    clients: list[tuple[Path, Client]] = []

    def start(data: Path, **settings: str) -> Client:
        with pytest.MonkeyPatch.context() as patch:  # where the host itself reads them
            for key, value in settings.items():
                patch.setenv(f"SDTERM_{key.upper()}", value)
            client = connect(settings_of(data, **settings))
        clients.append((data, client))
        return client

    yield start
    left = []
    for data, client in clients:
        processes = hosts(data)
        for host in (process for process in processes if "sdterm.host" in process.cmdline()):
            host.terminate()
        client.close()
        left += psutil.wait_procs(processes, timeout=ENDS_WITHIN)[1]
    for process in left:
        process.kill()
    assert not left, f"still there after they were told to stop: {left}"


@pytest.fixture(scope="session")
def host(start_shared_host: StartHost, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """One host for all tests that leave it as it was but for more jobs. Its queue is paused: nothing is drawn."""
    client = start_shared_host(tmp_path_factory.mktemp("host"), device="cpu")
    client.pause_queue()
    return client


@pytest.fixture(scope="session")
def drawing_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One host, and one process that draws, for all tests that leave it as it was but for more jobs. It has networks
    to upscale with."""
    from tests import network_files  # torch, which other tests of the host do not need

    root = tmp_path_factory.mktemp("drawing") / "data"
    network_files.write_upscalers(root)
    with running(root) as it:
        yield it


@pytest.fixture
def services(tmp_path: Path) -> Iterator[HostServices]:
    """A host's parts without its process: nothing draws, and the clock stands at 1000 s."""
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    parts = HostServices(settings_of(tmp_path, device="cpu"), run_folder, lambda: 1000.0)
    yield parts
    parts.database.close()


def submission(prompt: str = "a house", *, paused: bool = False, **fields: object) -> Submission:
    return Submission(request=make_request(prompt=prompt, **fields), paused=paused)


_opened: list[str] = []  # an audit hook cannot be taken away, so there is one for all tests
_has_hook = False


def opened_files() -> list[str]:
    """The paths of the files that this process opens, as it goes on."""
    global _has_hook
    if not _has_hook:
        sys.addaudithook(lambda event, given: _opened.append(str(given[0])) if event == "open" else None)
        _has_hook = True
    return _opened

"""Where a host lives: private, one at a time, and never led astray by what lies there."""

import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from sdterm.client import Client, HostError, connect, stop_host
from sdterm.core.settings.rundir import LONGEST_SOCKET, RunFolder, is_held, make_private, run_folder_of
from sdterm.host import keeper
from tests.host.conftest import StartHost, hosts, settings_of, submission
from tests.host.running import wait_until

ROOT = os.geteuid() == 0
NOBODY = 65534
as_root = pytest.mark.skipif(not ROOT, reason="only root can act as another user")


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def run_host(data: Path) -> "subprocess.CompletedProcess[str]":
    """A host that is expected not to stay."""
    return subprocess.run(
        [sys.executable, "-m", "sdterm.host", "{}"],
        env={**os.environ, "SDTERM_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_host_is_private_and_cleans_up_after_a_dead_one(start_host: StartHost, tmp_path: Path) -> None:
    run_folder = run_folder_of(tmp_path)
    run_folder.folder.mkdir(mode=0o777)
    run_folder.folder.chmod(0o777)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(run_folder.socket))  # nobody listens there
    dead.close()
    run_folder.lock.write_text("999999999 and more\n")
    before = os.umask(0)
    try:
        client = start_host(tmp_path, device="cpu")
    finally:
        os.umask(before)
    host = client.health()
    assert mode(run_folder.folder) == 0o700 and mode(run_folder.tapes) == 0o700 and mode(run_folder.socket) == 0o600
    assert run_folder.lock.read_text() == f"{host.pid}\n"
    while not client.extensions():  # caches are written, too
        pass
    assert mode(run_folder.log) == 0o600
    assert [path for path in tmp_path.rglob("*") if not path.is_symlink() and mode(path) & 0o022] == []

    second = run_host(tmp_path)
    assert (second.stdout, second.returncode, second.stderr) == ("taken\n", 0, "")
    assert client.health().pid == host.pid

    client.stop()
    psutil.wait_procs(hosts(tmp_path), timeout=20)
    assert not run_folder.socket.exists()


LINKS: dict[str, Callable[[RunFolder], Path]] = {
    "folder": lambda run_folder: run_folder.folder,
    "lock": lambda run_folder: run_folder.lock,
    "log": lambda run_folder: run_folder.log,
    "socket": lambda run_folder: run_folder.socket,
    "database": lambda run_folder: run_folder.database,
    "tapes": lambda run_folder: run_folder.tapes,
}


@pytest.mark.few(1)
@pytest.mark.parametrize("what", LINKS)
def test_a_planted_link_is_refused_with_a_sentence_and_what_it_leads_to_is_untouched(tmp_path: Path, what: str) -> None:
    run_folder = run_folder_of(tmp_path)
    link = LINKS[what](run_folder)
    if what != "folder":
        make_private(run_folder)
    bait = tmp_path / "bait"
    if what in ("folder", "tapes"):
        bait.mkdir(mode=0o755)
        if link.is_dir():
            link.rmdir()
    else:
        bait.write_text("keep me")
    link.symlink_to(bait)

    host = run_host(tmp_path)
    assert host.returncode == 1 and host.stderr == ""
    assert host.stdout.startswith("failed ") and str(link) in host.stdout and "Move it away." in host.stdout
    with pytest.raises(HostError, match="Move it away"):
        connect(settings_of(tmp_path, device="cpu"))
    if bait.is_dir():
        assert not list(bait.iterdir()) and mode(bait) == 0o755
    else:
        assert bait.read_text() == "keep me"
    assert not hosts(tmp_path)


@pytest.mark.few(1)
@pytest.mark.parametrize("what", ["folder", "socket"])
def test_a_file_in_the_way_is_refused_with_a_sentence(tmp_path: Path, what: str) -> None:
    run_folder = run_folder_of(tmp_path)
    if what == "socket":
        make_private(run_folder)
    LINKS[what](run_folder).write_text("keep me")
    host = run_host(tmp_path)
    assert host.returncode == 1 and host.stderr == "" and "Move it away." in host.stdout
    assert LINKS[what](run_folder).read_text() == "keep me"


def test_a_socket_whose_path_would_be_too_long_is_in_the_state_folder(
    start_host: StartHost, tmp_path: Path, state: Path
) -> None:
    data = tmp_path / ("long" * 20)
    run_folder = run_folder_of(data)
    assert len(os.fsencode(data / "run" / "host.sock")) > LONGEST_SOCKET
    assert run_folder.folder == data / "run" and run_folder.socket.is_relative_to(state)
    client = start_host(data, device="cpu")
    assert client.health().data == str(data)
    assert mode(run_folder.socket.parent) == 0o700 and mode(run_folder.socket) == 0o600


def test_two_data_folders_have_two_places_in_the_state_folder(tmp_path: Path) -> None:
    one, other = (run_folder_of(tmp_path / (name * 100)) for name in "ab")
    assert one.socket != other.socket


@as_root
def test_a_run_folder_of_another_user_is_left_alone(start_host: StartHost, tmp_path: Path, state: Path) -> None:
    theirs = tmp_path / "run"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, NOBODY, NOBODY)
    run_folder = run_folder_of(tmp_path)
    assert run_folder.folder.is_relative_to(state) and run_folder.socket.is_relative_to(state)
    assert start_host(tmp_path, device="cpu").health().data == str(tmp_path)
    assert not list(theirs.iterdir()) and mode(theirs) == 0o755 and mode(run_folder.folder) == 0o700


@pytest.fixture
def opened(start_host: StartHost) -> Iterator[tuple[Client, RunFolder]]:
    """A host whose folder and socket were opened to everyone, as a careless owner might. It lies beside pytest's
    folders, which any pytest that begins closes again."""
    with tempfile.TemporaryDirectory(prefix="sdterm-open-", ignore_cleanup_errors=True) as data:
        client = start_host(Path(data), device="cpu")
        run_folder = run_folder_of(Path(data))
        for path in (Path(data), run_folder.folder):
            path.chmod(0o755)
        run_folder.socket.chmod(0o666)
        yield client, run_folder


@as_root
def test_another_user_gets_no_answer_even_where_the_folder_was_opened(opened: tuple[Client, RunFolder]) -> None:
    client, run_folder = opened
    assert as_user(os.geteuid(), run_folder) == 0, "the owner is answered"
    assert as_user(NOBODY, run_folder) == 1, "others are not"
    assert client.health().watching == 0
    assert f"refused a connection of user {NOBODY}" in run_folder.log.read_text()
    assert "Traceback" not in run_folder.log.read_text()


def as_user(uid: int, run_folder: RunFolder) -> int:
    """Ask for the health as that user: 0 if there was an answer, 1 if the connection was closed, 2 otherwise."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setuid(uid)
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(run_folder.socket)), timeout=20) as http:
                os._exit(0 if http.get("http://sdterm/v1/health").is_success else 2)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.heavy
def test_of_hosts_started_at_once_one_wins(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    for number in range(10 if pytestconfig.getoption("--all") else 3):
        data = tmp_path / str(number)
        data.mkdir()
        command = [sys.executable, "-m", "sdterm.host", '{"device": "cpu"}']
        environ = {**os.environ, "SDTERM_DATA": str(data)}
        both = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        try:
            said = [process.stdout.readline() for process in both if process.stdout]
            assert sorted(said) == ["ready\n", "taken\n"]
            loser, winner = both[said.index("taken\n")], both[said.index("ready\n")]
            assert loser.wait(20) == 0
            with connect(settings_of(data), start=False) as client:
                assert client.health().pid == winner.pid
        finally:
            for process in both:
                process.terminate()
            for process in both:
                assert process.wait(20) == 0
                assert process.stdout
                process.stdout.close()


def test_clients_that_start_at_once_get_the_same_host(tmp_path: Path, start_host: StartHost) -> None:
    command = (
        "import os; from sdterm.client import connect; from sdterm.core.settings.settings import resolve;"
        "print(connect(resolve({}, os.environ)).health().pid)"
    )
    environ = {**os.environ, "SDTERM_DATA": str(tmp_path), "SDTERM_DEVICE": "cpu"}
    clients = [
        subprocess.Popen([sys.executable, "-c", command], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = {client.communicate(timeout=60)[0] for client in clients}
    assert told == {f"{start_host(tmp_path, device='cpu').health().pid}\n"}


REAPS_NOTHING = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans become children of this process
sdterm = [sys.executable, "-m", "sdterm", "host"]
subprocess.run([*sdterm, "start"], check=True)
pid = int(open(sys.argv[1]).read())
began = time.monotonic()
done = subprocess.run([*sdterm, "stop"], capture_output=True, text=True)
assert (done.returncode, done.stdout) == (0, "The host has ended.\\n"), done
while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.02)  # if it is reaped, the file is gone, and this test fails
subprocess.run([*sdterm, "start"], check=True)
subprocess.run([*sdterm, "stop"], check=True)
print(f"{time.monotonic() - began:.1f} s")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a process that takes orphans and reaps none")
def test_a_host_can_be_stopped_where_nobody_reaps_processes(tmp_path: Path) -> None:
    """As in a container whose first process is no init."""
    done = subprocess.run(
        [sys.executable, "-c", REAPS_NOTHING, str(run_folder_of(tmp_path).lock)],
        env={**os.environ, "SDTERM_DATA": str(tmp_path), "SDTERM_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def is_answered(data: Path) -> bool:
    try:
        with connect(settings_of(data), start=False) as client:
            return client.health().data == str(data)
    except HostError:
        return False


@pytest.mark.parametrize(
    "what", ["folder", *(pytest.param(each, marks=pytest.mark.heavy) for each in ("socket", "database", "lock", "log"))]
)
def test_what_is_deleted_under_a_living_host_is_there_again_and_nothing_is_lost(
    start_host: StartHost, tmp_path: Path, what: str
) -> None:
    client, run_folder = start_host(tmp_path, device="cpu"), run_folder_of(tmp_path)
    pid, job = client.health().pid, client.submit(submission(paused=True)).id
    client.pause_queue()
    if what == "folder":
        shutil.rmtree(run_folder.folder)
    else:
        LINKS[what](run_folder).unlink()
    wait_until(
        lambda: all(path.exists() for path in (run_folder.socket, run_folder.database, run_folder.lock, run_folder.log))
    )
    wait_until(lambda: is_answered(tmp_path))
    with connect(settings_of(tmp_path)) as again:
        assert again.health().pid == pid, "it is the same host"
        assert again.job(job).state == "paused" and again.queue().paused
        later = again.submit(submission(paused=True)).id
        assert mode(run_folder.folder) == 0o700 and mode(run_folder.socket) == 0o600
        assert run_host(tmp_path).stdout == "taken\n"
        again.stop()
    assert "deleted while the host ran, and was made again" in run_folder.log.read_text()
    with start_host(tmp_path, device="cpu") as other:
        assert [other.job(number).state for number in (job, later)] == ["paused", "paused"]


def test_a_log_that_is_deleted_again_is_there_again_though_nothing_new_is_said(
    start_host: StartHost, tmp_path: Path
) -> None:
    start_host(tmp_path, device="cpu")
    log = run_folder_of(tmp_path).log
    for _ in range(2):
        log.unlink()
        wait_until(log.exists)
        assert mode(log) == 0o600


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.heavy)])
def test_what_is_deleted_while_it_is_put_back_is_put_back_later(
    start_host: StartHost, tmp_path: Path, times: int
) -> None:
    client, run_folder, moments = start_host(tmp_path, device="cpu"), run_folder_of(tmp_path), random.Random(0)
    pid, job = client.health().pid, client.submit(submission(paused=True)).id
    for _ in range(times):
        time.sleep(moments.uniform(0, 1.2 * keeper.EVERY))
        shutil.rmtree(run_folder.folder, ignore_errors=True)
        wait_until(lambda: is_answered(tmp_path) and run_folder.database.exists() and run_folder.lock.exists())
    with connect(settings_of(tmp_path)) as again:
        assert again.health().pid == pid and again.job(job).state == "paused"


@pytest.mark.heavy
def test_a_host_that_cannot_put_its_folder_back_ends_with_a_sentence(start_host: StartHost, tmp_path: Path) -> None:
    run_folder = run_folder_of(tmp_path)
    host = psutil.Process(start_host(tmp_path, device="cpu").health().pid)
    with run_folder.log.open(encoding="utf-8") as log:  # its file is deleted next
        shutil.rmtree(run_folder.folder)
        run_folder.folder.write_text("in the way")
        host.wait(60)
        last = log.read()
    assert f"{run_folder.folder} cannot be written" in last and "Traceback" not in last
    assert run_folder.folder.read_text() == "in the way"
    run_folder.folder.unlink()
    assert start_host(tmp_path, device="cpu").health().pid != host.pid


@pytest.mark.parametrize("what", ["socket", pytest.param("folder", marks=pytest.mark.heavy)])
def test_a_host_is_found_and_stopped_before_it_has_noticed(start_host: StartHost, tmp_path: Path, what: str) -> None:
    """Stopped in its tracks, it cannot notice: no second host begins, and it can be ended."""
    client, run_folder = start_host(tmp_path, device="cpu"), run_folder_of(tmp_path)
    host = psutil.Process(client.health().pid)
    host.suspend()
    if what == "folder":
        shutil.rmtree(run_folder.folder)
    else:
        run_folder.socket.unlink()
    assert run_host(tmp_path).stdout == "taken\n", "there is never a second one"
    if what == "socket":
        with pytest.raises(HostError, match=rf"process {host.pid}\) does not answer"):
            connect(settings_of(tmp_path), start=False)
    host.resume()
    stop_host(settings_of(tmp_path))
    assert not is_held(run_folder)
    wait_until(lambda: not hosts(tmp_path))


def test_a_host_whose_data_folder_is_deleted_ends_and_makes_no_new_one(start_host: StartHost, tmp_path: Path) -> None:
    data = tmp_path / "data"
    host = psutil.Process(start_host(data, device="cpu").health().pid)
    shutil.rmtree(data)
    host.wait(30)
    assert not data.exists()


@pytest.mark.few(1)
@pytest.mark.parametrize("what", ["lock", "log", "database"])
@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_where_one_belongs_is_refused_with_a_sentence(tmp_path: Path, what: str, kind: str) -> None:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    path = LINKS[what](run_folder)
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    host = run_host(tmp_path)
    assert (host.returncode, host.stderr) == (1, "")
    assert str(path) in host.stdout and "is in the way" in host.stdout
    with pytest.raises(HostError, match="is in the way"):
        connect(settings_of(tmp_path, device="cpu"))

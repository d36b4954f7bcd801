"""A child's end: seen by its exit, whoever holds its pipes, and nothing that it started is left."""

import asyncio
import gc
import os
import sys
from pathlib import Path

import psutil
import pytest

from sdterm.host.child import Child, end_strays

BROOD = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
plain = subprocess.Popen(sleep)
away = subprocess.Popen(sleep, start_new_session=True)
print(plain.pid, away.pid, flush=True)
if "leave" in sys.argv:
    os._exit(3)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def brood(folder: Path, *more: str) -> tuple[Child, list[int]]:
    """A child and the processes that it started, which hold its pipes."""
    child = await Child.start([sys.executable, "-c", BROOD, *more], folder, 2**16)
    return child, [int(word) for word in (await child.stdout.readline()).split()]


@pytest.mark.parametrize("how", ["killed", "ended", "by itself"])
def test_its_end_is_seen_and_takes_all_along_that_it_started(tmp_path: Path, how: str) -> None:
    async def act() -> None:
        child, started = await brood(tmp_path, *(["leave"] if how == "by itself" else []))
        assert len(started) == 2
        if how == "killed":
            assert child.is_alive
            child.kill()
        if how == "ended":
            await asyncio.wait_for(child.end(), 60)
        code = await asyncio.wait_for(child.wait(), 60)
        assert code == (3 if how == "by itself" else -9)
        assert not child.is_alive and all(map(gone, started))
        assert await asyncio.wait_for(child.stdout.read(), 60) == b""

    asyncio.run(act())


def test_its_pipes_are_closed_though_somebody_holds_them_who_cannot_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asyncio complains of a pipe that is open when its loop is closed, in the host's log."""
    hide = (
        "import subprocess, sys\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(sleep, start_new_session=True, env={}).pid, flush=True)\n"
    )

    async def act() -> int:
        child = await Child.start([sys.executable, "-c", hide], tmp_path, 2**16)
        hidden = int(await child.stdout.readline())
        await asyncio.wait_for(child.end(), 60)
        return hidden

    complaints: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: complaints.append(str(told.exc_value)))
    hidden = psutil.Process(asyncio.run(act()))
    assert hidden.is_running(), "else nobody holds them"
    hidden.kill()
    gc.collect()
    assert complaints == []


def test_what_it_wrote_before_its_end_is_read(tmp_path: Path) -> None:
    async def act() -> None:
        write = "import sys; sys.stdout.write('x' * 300_000)"
        child = await Child.start([sys.executable, "-c", write], tmp_path, 2**20)
        assert len(await asyncio.wait_for(child.stdout.read(), 60)) == 300_000
        assert await asyncio.wait_for(child.wait(), 60) == 0

    asyncio.run(act())


def test_the_strays_of_a_host_that_was_killed_are_ended_by_the_next(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.host.test_child import brood\n"
        "async def act():\n"
        "    child, started = await brood(Path(sys.argv[1]))\n"
        "    print(child.pid, *started, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(act())\n"
    )

    async def act() -> None:
        other, ours = await brood(tmp_path / "other")
        host = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(tmp_path / "mine")),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert host.stdout
        started = [int(word) for word in (await host.stdout.readline()).split()]
        host.kill()
        assert len(started) == 3 and not any(map(gone, started))
        await end_strays(tmp_path / "mine")
        assert all(map(gone, started)), "those of the host that is gone"
        assert other.is_alive and not any(map(gone, ours)), "not those of another"
        await end_strays(tmp_path / "other")
        assert other.is_alive, "nor one's own"
        other.kill()
        await other.wait()

    asyncio.run(act())

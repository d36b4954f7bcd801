"""Trials: the same few jobs over and over, while a seeded hand kills and tears what it can reach.

By default each is short; `--all` runs the long one. A failure names its seed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from sdterm.events import Event, Image, Step
from tests.host.conftest import hosts
from tests.host.running import Running, images, is_there, names, running, steps, wait_until

KINDS: tuple[dict[str, Any], ...] = (
    {"sampler": "Euler a", "steps": 24, "width": 128, "height": 128},
    {"sampler": "DPM++ 2M", "steps": 12, "width": 64, "height": 64, "batch_count": 3, "grid": True},
    {"sampler": "DPM++ SDE", "steps": 10, "width": 64, "height": 64, "batch_size": 2, "batch_count": 2},
    {"sampler": "UniPC", "steps": 16, "width": 96, "height": 64, "prompt": "[red:blue:0.5] circle"},
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("trials") / "data") as it:
        yield it


@dataclass(frozen=True)
class Told:
    """What a job draws (image → hash of its pixels), and the steps that it tells, in order."""

    pixels: dict[int, str]
    steps: list[tuple[int, int]]

    @classmethod
    def by(cls, events: list[Event]) -> "Told":
        return cls({image.index: image.pixel_hash for image in images(events)}, sorted(steps(events)))


@pytest.fixture(scope="module")
def undisturbed(host: Running) -> Callable[[int], Told]:
    """Each kind of job when nothing happens."""
    return cache(lambda kind: Told.by(host.events(host.submit(**KINDS[kind]))))


def seeds(short: int, long: int) -> list[object]:
    return [*range(short), *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(short, long))]


def kill_worker(host: Running, chance: random.Random) -> None:
    with contextlib.suppress(StopIteration, psutil.NoSuchProcess):  # there is none just now
        worker = host.worker
        worker.kill()
        wait_until(lambda: not is_there(worker))


def kill_host(host: Running, chance: random.Random) -> None:
    host.kill_host()
    host.again()


def kill_all(host: Running, chance: random.Random) -> None:
    """In any order, as when memory runs out or a container is stopped."""
    found = hosts(host.settings.root)
    chance.shuffle(found)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(is_there, found)))
    host.again()


def kill_client(host: Running, chance: random.Random) -> None:
    """One that has just submitted a job of its own, which goes on without it."""
    client = subprocess.Popen(
        [sys.executable, "-m", "sdterm", "generate", "a house", "--steps", "3", "--size", "64x64", "--json"],
        env=os.environ | {"SDTERM_DATA": str(host.settings.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout
    client.stdout.readline()
    client.send_signal(chance.choice([signal.SIGKILL, signal.SIGHUP, signal.SIGTERM]))
    client.wait(60)
    client.stdout.close()


HANDS: tuple[Callable[[Running, random.Random], None], ...] = (kill_worker, kill_host, kill_all, kill_client)


@pytest.mark.parametrize("seed", seeds(1, 8))
def test_whatever_is_killed_whenever_each_job_is_done_once_and_draws_the_same(
    host: Running, undisturbed: Callable[[int], Told], seed: int
) -> None:
    chance = random.Random(seed)
    kinds = [chance.randrange(len(KINDS)) for _ in range(3 if seed else 1)]
    told = {kind: undisturbed(kind) for kind in kinds}
    last = host.client.jobs(limit=1).jobs[0].id
    jobs = [host.submit(**KINDS[kind]) for kind in kinds]
    for job, kind in zip(jobs, kinds, strict=True):
        batches = told[kind].steps[-1][0] + 1
        for _ in range(2):
            moment = chance.randrange(batches), chance.randrange(1, 16)
            for entry in host.entries(job):
                at = entry.event
                if isinstance(at, Step) and (at.batch, at.step) >= moment:
                    break
            chance.choice(HANDS)(host, chance)
    for job, kind in zip(jobs, kinds, strict=True):
        events = host.events(job)
        assert names(events)[-1] == "done", seed
        assert Told.by(events) == told[kind], seed
        pictures = host.client.pictures(job=job).pictures
        assert len(pictures) == len(told[kind].pixels) + any(picture.kind == "grid" for picture in pictures)
        assert all(Path(picture.path).is_file() for picture in pictures)
    others = [job.id for job in host.client.jobs(limit=100).jobs if job.id > last and job.id not in jobs]
    for job in others:  # those of clients that were killed
        events = host.events(job)
        assert names(events)[-1] in ("done", "cancelled"), seed
        assert len([event for event in events if isinstance(event, Image)]) <= 1
    assert len(hosts(host.settings.root)) <= 2, "one host and its worker"
    files = {path: path.stat().st_mtime for path in (host.settings.root / "outputs").rglob("*.*")}
    left = [written for path, written in files.items() if path.name.startswith(".")]
    newest = max(files.values())
    assert all(written > newest - 15 for written in left), "what a killed host left is deleted with the next image"


def tear(content: bytes, chance: random.Random) -> bytes:
    """As a crash or a bad disk leaves a file: cut, holed, with a flipped bit or garbage behind."""
    at = chance.randrange(1, len(content))
    return chance.choice(
        [
            content[:at],
            content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :],
            content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :],
            content + chance.randbytes(chance.randrange(1, 4096)),
        ]
    )


@pytest.mark.parametrize("seed", seeds(1, 12))
def test_a_torn_tape_costs_steps_and_nothing_else(host: Running, undisturbed: Callable[[int], Told], seed: int) -> None:
    chance = random.Random(seed)
    kind = chance.randrange(len(KINDS))
    whole = undisturbed(kind)
    job = host.submit(**KINDS[kind], pause_at=chance.randrange(2, 9))
    assert names(host.events(job))[-1] == "paused"
    tape = host.settings.root / "run" / "tapes" / f"{job}.tape"
    tape.write_bytes(tear(tape.read_bytes(), chance))
    seen = max(entry.number for entry in host.entries(job))
    host.client.resume(job)
    events = [entry.event for entry in host.entries(job, after=seen)]
    assert names(events)[-1] == "done", seed
    assert Told.by(events).pixels == whole.pixels, seed


@pytest.mark.parametrize("seed", seeds(1, 12))
def test_whatever_of_the_hosts_files_is_torn_the_next_one_starts_and_draws(
    host: Running, undisturbed: Callable[[int], Told], seed: int
) -> None:
    chance, whole = random.Random(seed), undisturbed(3)
    host.kill_host()
    root = host.settings.root
    torn = [path for folder in ("run", "cache") for path in (root / folder).rglob("*") if path.is_file()]
    for path in chance.sample(sorted(torn), min(2, len(torn))):
        if content := path.read_bytes():
            path.write_bytes(tear(content, chance))
    host.again()
    events = host.events(host.submit(**KINDS[3]))
    assert names(events)[-1] == "done", seed
    assert Told.by(events) == whole, seed

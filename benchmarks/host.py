"""What the host costs on top of the engine: `python -m benchmarks.host` prints one line of JSON.

job         a picture through host and worker, against `Engine.run` in this process
first_step  from submitting to the first step, on a warm model, against the same in this process
latency     from an event in the worker to the client, with the engine idle; a bare SSE stream as the peer
start       of a host, until it answers; a bare FastAPI process as the peer
crowd       the host's CPU and memory while 50 clients follow a job
tape        the share of a step that recording it takes, and what resuming costs

Candidates take turns, in changing order; best and median are given.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx2 as httpx
import psutil

from benchmarks.candidates import CFG_SCALE, STEPS, prompt
from benchmarks.engine import MIB, PAIRS, ROOT, SIZES, Setting, alternate, machine, offline, stopwatches, summary
from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.api import Entry, Submission
from sdterm.client import Client, connect
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.core.settings.settings import resolve
from sdterm.engine.run import PauseAt
from sdterm.engine.tape import Tape
from sdterm.events import Done, Event, Resumed, Step
from tools import full_size

CROWD = 50
TICKS, TICK = 60, 0.05  # steps, and seconds between two

TICKING = f'''
    """A sampler that notes when each of its steps is done, and then lets the engine idle."""
    import os, time
    from sdterm.hooks import Sampler, hookimpl

    def sample(denoise, x, sigmas, *, noise, callback):
        with open(os.environ["TICKS"], "w") as ticks:
            for i in range(len(sigmas) - 1):
                x0 = denoise(x, sigmas[i].expand(len(x))).x0
                time.sleep({TICK})
                ticks.write(f"{{time.time()}}\\n")
                callback(i, x0)
        return x0

    @hookimpl
    def sdterm_samplers():
        return [Sampler(id="ticking", label="Ticking", sample=sample)]
'''


def job(setting: Setting) -> dict[str, Any]:
    """From asking to the last event. Both write a tape; the host also saves the picture and tells of each step."""
    engine, plugins = local(setting)
    numbers = iter(range(10_000))

    def here() -> float:
        number = next(numbers)
        began = time.perf_counter()
        for _ in engine.run(request(setting, number), plugins, tape=setting.scratch / f"{number}.tape"):
            pass
        return time.perf_counter() - began

    with host(setting) as client:

        def there() -> float:
            return drawn(client, request(setting, next(numbers)))[Done]

        here(), there()  # both load the model
        pairs = alternate(setting.pairs, there, here)
    return {
        "ratio": summary(a / b for a, b in pairs),
        "best_ratio": round(min(a for a, _ in pairs) / min(b for _, b in pairs), 4),
        "extra_ms": summary(1000 * (a - b) for a, b in pairs),
        "best_extra_ms": round(1000 * (min(a for a, _ in pairs) - min(b for _, b in pairs)), 1),
        "seconds": {"host": summary(a for a, _ in pairs), "engine": summary(b for _, b in pairs)},
    }


def first_step(setting: Setting) -> dict[str, Any]:
    """What is the host's own: the difference to a run in this process."""
    engine, plugins = local(setting)
    numbers = iter(range(10_000))

    def here() -> float:
        began = time.perf_counter()
        for event in engine.run(request(setting, next(numbers)), plugins):
            if isinstance(event, Step):
                first = time.perf_counter() - began
                break
        return first

    with host(setting) as client:

        def there() -> float:
            return drawn(client, request(setting, next(numbers)))[Step]

        here(), there()
        pairs = alternate(3 * setting.pairs, there, here)
    return {
        "host_ms": summary(1000 * a for a, _ in pairs),
        "engine_ms": summary(1000 * b for _, b in pairs),
        "difference_ms": summary(1000 * (a - b) for a, b in pairs),
    }


def latency(setting: Setting) -> dict[str, Any]:
    """From the sampler's callback to the client's loop; the tape's writing lies between, too."""
    ticks = setting.scratch / "ticks"
    (setting.scratch / "data" / "extensions").mkdir(parents=True, exist_ok=True)
    (setting.scratch / "data" / "extensions" / "ticking.py").write_text(dedent(TICKING))
    asked = GenerationRequest(prompt="x", sampler="Ticking", steps=TICKS, width=64, height=64)
    with host(setting, TICKS=str(ticks)) as client:
        arrived = [time.time() for event in watched(client, asked) if isinstance(event, Step)]
    sent = [float(line) for line in ticks.read_text().split()]
    found = sorted(1000 * (b - a) for a, b in zip(sent, arrived, strict=True))
    with bare(setting) as path, closing(http(path)) as peer, peer.stream("GET", "/events") as response:
        events = itertools.islice(httpx.EventSource(response), TICKS)
        peers = sorted(1000 * (time.time() - float(event.data)) for event in events)
    return {"ms": quantiles(found), "peer_ms": quantiles(peers)}


def start(setting: Setting) -> dict[str, Any]:
    """From spawning to the first answer."""

    def ours() -> float:
        began = time.perf_counter()
        with host(setting):
            return time.perf_counter() - began

    def theirs() -> float:
        began = time.perf_counter()
        with bare(setting):
            return time.perf_counter() - began

    ours()  # makes the data folder
    pairs = alternate(setting.pairs, ours, theirs)
    return {
        "seconds": {"host": summary(a for a, _ in pairs), "bare": summary(b for _, b in pairs)},
        "ratio": summary(a / b for a, b in pairs),
    }


def crowd(setting: Setting) -> dict[str, Any]:
    """A job of 300 small steps, followed by one client and by fifty."""
    found: dict[str, Any] = {}
    asked = GenerationRequest(prompt="x", sampler="Euler", steps=300, width=64, height=64)
    with host(setting) as client:
        process = psutil.Process(client.health().pid)
        drawn(client, asked)
        for clients in (1, CROWD):
            others = [threading.Thread(target=follow, args=(setting,)) for _ in range(clients - 1)]
            for thread in others:
                thread.start()
            while client.health().watching < clients - 1:
                time.sleep(0.05)
            before, began = cpu(process), time.perf_counter()
            drawn(client, asked)
            seconds, used = time.perf_counter() - began, cpu(process) - before
            found[f"clients_{clients}"] = {
                "cpu_percent": round(100 * used / seconds, 1),
                "us_per_event_and_client": round(1e6 * used / (304 * clients), 1),
            }
        found["resident_mib"] = round(process.memory_info().rss / MIB, 1)
    return found


def tape(setting: Setting) -> dict[str, Any]:
    """In this process: writing the rows, on the thread that does it behind the sampler; then all steps but the last
    one again, from the tape."""
    engine, plugins = local(setting)
    seconds: list[float] = []
    append = Tape.append

    def timed(self: Tape, row: Any) -> None:
        began = time.perf_counter()
        append(self, row)
        seconds.append(time.perf_counter() - began)

    for _ in engine.run(request(setting, 0), plugins):  # warms up
        pass
    file = setting.scratch / "measured.tape"
    asked = request(setting, 1)
    Tape.append = timed  # type: ignore[method-assign]
    try:
        with stopwatches() as first:
            times = timeline(engine.run(asked, plugins, tape=file, pause_at=PauseAt(STEPS - 1)))
    finally:
        Tape.append = append  # type: ignore[method-assign]
    stepping = times["paused"] - times["started"] - sum(first["encode"].seconds)
    with stopwatches() as second:
        again = timeline(engine.run(asked, plugins, tape=file))
    assert Resumed.__name__.lower() in again
    replaying = again["resumed"] - again["started"] - sum(second["encode"].seconds)
    return {
        "tape_share_of_a_step": round(sum(seconds) / stepping, 5),
        "tape_ms_per_row": round(1000 * sum(seconds) / len(seconds), 3),
        "step_seconds": round(stepping / (STEPS - 1), 3),
        "resume_skips": round(1 - replaying / stepping, 5),
        "replay_seconds": round(replaying, 4),
    }


# --- helpers ----------------------------------------------------------------------------------------------------------


def local(setting: Setting) -> tuple[Engine, Any]:
    return Engine(library=Library(setting.scratch, chosen=setting.checkpoint), device="cpu"), load_plugins()


def request(setting: Setting, number: int) -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt(number), steps=STEPS, cfg_scale=CFG_SCALE, seed=1, width=setting.size, height=setting.size
    )


@contextmanager
def host(setting: Setting, **environ: str) -> Iterator[Client]:
    """A host of its own, ended afterwards."""

    os.environ |= offline() | {"PYTHONPATH": str(ROOT), **environ}
    given = {"data_dir": str(setting.scratch / "data"), "device": "cpu", "ckpt": str(setting.checkpoint)}
    with connect(resolve({"the command line": given}, {})) as client:
        try:
            yield client
        finally:
            client.stop()


def watched(client: Client, asked: GenerationRequest) -> Iterator[Event]:
    """A job's events as they arrive."""
    for entry in entries(client, client.submit(Submission(request=asked)).id):
        yield entry.event


def entries(client: Client, job: int) -> Iterator[Entry]:
    for entry in client.events(job=job, after=0):
        yield entry
        if isinstance(entry.event, Done):
            return


def drawn(client: Client, asked: GenerationRequest) -> dict[type[Event], float]:
    """When the first event of each kind arrived, in seconds from submitting."""
    began = time.perf_counter()
    found: dict[type[Event], float] = {}
    for event in watched(client, asked):
        found.setdefault(type(event), time.perf_counter() - began)
    return found


def follow(setting: Setting) -> None:
    """A client that reads all, until a job is done."""
    with connect(resolve({}, {"SDTERM_DATA": str(setting.scratch / "data")}), start=False) as client:
        for entry in client.events():
            if isinstance(entry.event, Done):
                return


def timeline(events: Iterator[Event]) -> dict[str, float]:
    """When the last event of each kind came."""
    return {event.event: time.perf_counter() for event in events}


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def quantiles(values: list[float]) -> dict[str, float]:
    return {
        "median": round(values[len(values) // 2], 3),
        "p95": round(values[int(0.95 * len(values))], 3),
        "max": round(values[-1], 3),
        "n": len(values),
    }


def http(socket_path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path)), base_url="http://peer")


@contextmanager
def bare(setting: Setting) -> Iterator[Path]:
    """A FastAPI process that does nothing but stream the time."""
    path = setting.scratch / "peer.sock"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_host", str(path)], cwd=ROOT)
    try:
        while True:
            try:
                with closing(http(path)) as client:
                    client.get("/")
                    break
            except httpx.TransportError:
                time.sleep(0.01)
        yield path
    finally:
        process.terminate()
        process.wait()
        path.unlink(missing_ok=True)


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "job": job,
    "first_step": first_step,
    "latency": latency,
    "start": start,
    "crowd": crowd,
    "tape": tape,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="comma-separated [all]")
    parser.add_argument("--model", choices=SIZES, default="demo", help="sd15: SD 1.5's size, random weights [demo]")
    parser.add_argument("--pairs", type=int, metavar="N", help="turns of each candidate [7; 3 with sd15]")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where sd15's 2.1 GB are kept [a temporary folder]")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--only has {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        checkpoint = EMBEDDED_MODEL if given.model == "demo" else full_size.write("sd15", given.cache or scratch)
        setting = Setting(checkpoint, SIZES[given.model], given.pairs or PAIRS[given.model], scratch)
        results = {name: PARTS[name](setting) for name in PARTS if name in parts}
    print(json.dumps({"benchmark": "host", "model": given.model, "size": setting.size, "machine": facts, **results}))


if __name__ == "__main__":
    main()

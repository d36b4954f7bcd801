"""What A1111's API costs: `python -m benchmarks.api` prints one line of JSON.

txt2img   a picture of the demo model over HTTP, against `Engine.run` in this process
progress  how fast GET progress is answered while a picture is drawn, and nothing else happens
crowd     the same with 200 clients that ask for progress and 20 that ask for pictures: errors, and the host's memory
docs      /docs and the schema that it shows, of a host that has just started

Candidates of `txt2img` take turns, in changing order.
"""

import argparse
import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

from benchmarks.candidates import prompt
from benchmarks.engine import MIB, Setting, alternate, machine, summary
from benchmarks.host import host, local, quantiles
from sdterm import GenerationRequest
from sdterm.core.settings.paths import EMBEDDED_MODEL

STEPS, SIZE = 20, 128
POLLING, POSTING, EACH = 200, 20, 3
"""Clients of the crowd, and how many pictures each of those that post wants."""
EVERY = 1.0  # seconds between two looks of a polling client
SMALL = {"steps": 4, "width": 64, "height": 64, "sampler_name": "Euler a"}


def txt2img(setting: Setting) -> dict[str, Any]:
    """Both compute the same picture; the API also sends it."""
    engine, plugins = local(setting)
    numbers = iter(range(10_000))

    def here() -> float:
        asked = GenerationRequest(
            prompt=prompt(next(numbers)), sampler="Euler a", steps=STEPS, seed=1, width=SIZE, height=SIZE
        )
        began = time.perf_counter()
        for _ in engine.run(asked, plugins):
            pass
        return time.perf_counter() - began

    with served(setting) as (api, _):

        def there() -> float:
            body = {"prompt": prompt(next(numbers)), "sampler_name": "Euler a", "steps": STEPS, "seed": 1}
            began = time.perf_counter()
            answer = api.post("/sdapi/v1/txt2img", json=body | {"width": SIZE, "height": SIZE})
            assert answer.status_code == 200, answer.text
            return time.perf_counter() - began

        here(), there()  # both load the model
        pairs = alternate(setting.pairs, there, here)
    return {
        "extra_ms": summary(1000 * (a - b) for a, b in pairs),
        "best_extra_ms": round(1000 * (min(a for a, _ in pairs) - min(b for _, b in pairs)), 1),
        "seconds": {"http": summary(a for a, _ in pairs), "engine": summary(b for _, b in pairs)},
    }


def progress(setting: Setting) -> dict[str, Any]:
    """One client, one question after the other, for as long as pictures are drawn."""
    with served(setting) as (api, _):
        body = {"prompt": "x", "steps": 100, "width": SIZE, "height": SIZE, "n_iter": 3}
        api.post("/sdapi/v1/txt2img", json=body | {"steps": 1, "n_iter": 1})
        url = api.base_url.join("/sdapi/v1/txt2img")
        drawing = threading.Thread(target=lambda: httpx.post(url, json=body, timeout=600))
        drawing.start()
        asked: list[float] = []
        while drawing.is_alive():
            began = time.perf_counter()
            api.get("/sdapi/v1/progress").raise_for_status()
            asked.append(1000 * (time.perf_counter() - began))
            time.sleep(0.02)
    return {"ms": quantiles(sorted(asked))}


def crowd(setting: Setting) -> dict[str, Any]:
    """Every client has a connection of its own, as programs have."""
    with served(setting) as (api, process):
        api.post("/sdapi/v1/txt2img", json=SMALL)  # loads the model
        most = 0
        ended = threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.2):
                most = max(most, process.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        try:
            polls, posts, errors = asyncio.run(_crowd(str(api.base_url)))
        finally:
            ended.set()
            watching.join()
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "errors": errors,
        "progress_ms": quantiles(sorted(polls)),
        "txt2img_seconds": quantiles(sorted(posts)),
        "most_resident_mib": round(most / MIB, 1),
    }


async def _crowd(base_url: str) -> tuple[list[float], list[float], list[str]]:
    """Milliseconds of each look, seconds of each picture, and what went wrong."""
    polls: list[float] = []
    posts: list[float] = []
    errors: list[str] = []

    async def post(number: int) -> None:
        async with httpx.AsyncClient(base_url=base_url, timeout=600) as client:
            for _ in range(EACH):
                began = time.perf_counter()
                await _asked(client.post("/sdapi/v1/txt2img", json=SMALL | {"prompt": prompt(number)}))
                posts.append(time.perf_counter() - began)

    async def poll(number: int) -> None:
        await asyncio.sleep(EVERY * number / POLLING)
        async with httpx.AsyncClient(base_url=base_url, timeout=600) as client:
            while not drawn.is_set():
                began = time.perf_counter()
                await _asked(client.get("/sdapi/v1/progress"))
                polls.append(1000 * (time.perf_counter() - began))
                await asyncio.sleep(EVERY)

    async def _asked(asking: Any) -> None:
        try:
            answer = await asking
            if answer.status_code != 200:
                errors.append(f"{answer.status_code} {answer.text[:200]}")
        except httpx.HTTPError as error:
            errors.append(repr(error))

    drawn = asyncio.Event()
    polling = [asyncio.create_task(poll(number)) for number in range(POLLING)]
    await asyncio.gather(*(post(number) for number in range(POSTING)))
    drawn.set()
    await asyncio.gather(*polling)
    return polls, posts, errors


def docs(setting: Setting) -> dict[str, Any]:
    """The first look after a start; nothing else has been asked yet."""
    found = []
    for _ in range(setting.pairs):
        with served(setting) as (api, _):
            began = time.perf_counter()
            for path in ("/docs", "/openapi.json"):
                api.get(path).raise_for_status()
            found.append(1000 * (time.perf_counter() - began))
    return {"ms": summary(found)}


@contextmanager
def served(setting: Setting) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A host of its own with the API, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {"SDTERM_API": "true", "SDTERM_PORT": str(port)}
    with (
        host(setting, **environ) as client,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as api,
    ):
        yield api, psutil.Process(client.health().pid)


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "txt2img": txt2img,
    "progress": progress,
    "crowd": crowd,
    "docs": docs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="comma-separated [all]")
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="turns of each candidate [7]")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--only has {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        setting = Setting(EMBEDDED_MODEL, SIZE, given.pairs, Path(temporary))
        results = {name: PARTS[name](setting) for name in PARTS if name in parts}
    print(json.dumps({"benchmark": "api", "machine": facts, **results}))


if __name__ == "__main__":
    main()

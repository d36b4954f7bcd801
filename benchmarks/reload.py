"""How soon a saved extension is used: `python -m benchmarks.reload` prints one line of JSON.

idle      seconds from saving a file to the event that it serves (the next job is drawn with it), nothing being drawn
drawing   the same while a job is drawn
slowdown  a job's seconds while an extension is saved every two seconds, against the same job undisturbed, in turns
helper    MiB of the process that tries out extensions, which leaves when there is nothing to try

`--crowd` measures something else: what a folder with a thousand small extensions costs against one with ten.

first     seconds from starting a host, with extensions that it has never seen, to the first picture
restart   the same with a host that has seen them
reload    seconds from saving one of them to the event that it serves
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil

from benchmarks.engine import MIB, SIZES, Setting, alternate, machine, summary
from benchmarks.host import drawn, host, quantiles
from sdterm import GenerationRequest
from sdterm.api import Submission
from sdterm.client import Client
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.events import Done, ExtensionChanged

FILES, KILOBYTES = 20, 8
"""Of the measured extension."""
EVERY = 2.0  # seconds between two saves during a job

CODE = dedent("""
    import torch
    from sdterm.hooks import Sampler, hookimpl
    from .part1 import value

    def sample(denoise, x, sigmas, *, noise, callback):
        return denoise(x, sigmas[0].expand(len(x))).x0 * NUMBER

    @hookimpl
    def sdterm_samplers():
        return [Sampler(id="measured", label="Measured", sample=sample)]
""")


SMALL = dedent("""
    from sdterm.hooks import Sampler, hookimpl

    def sample(denoise, x, sigmas, *, noise, callback):
        return denoise(x, sigmas[0].expand(len(x))).x0

    @hookimpl
    def sdterm_samplers():
        return [Sampler(id="NAME", label="NAME", sample=sample)]
""")
FEW, MANY = 10, 1000


class Author:
    """Somebody who edits an extension."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self.folder = client, folder / "measured"
        self.folder.mkdir(parents=True)
        filler = "\n".join(f"# {random.random()} " + "x" * 60 for _ in range(KILOBYTES * 1024 // 84))
        for number in range(1, FILES):
            (self.folder / f"part{number}.py").write_text(f"value = {number}\n{filler}\n")
        self.number = 0

    def save(self) -> None:
        self.number += 1
        (self.folder / "__init__.py").write_text(CODE.replace("NUMBER", str(self.number)))

    def saved(self) -> float:
        """Save, and wait until that version serves. Returns the seconds it took."""
        after = self.client.health().last_event
        began = time.perf_counter()
        self.save()
        for entry in self.client.events(after=after):
            if isinstance(entry.event, ExtensionChanged) and entry.event.slug == "measured":
                assert entry.event.loaded, entry.event.message
                return time.perf_counter() - began
        raise RuntimeError("the host ended")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Saves every few seconds."""
        enough = threading.Event()

        def work() -> None:
            while not enough.wait(EVERY):
                self.save()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()


def measure(setting: Setting, saves: int) -> dict[str, Any]:
    with host(setting) as client:
        author = Author(client, setting.scratch / "data" / "extensions")
        asked = GenerationRequest(prompt="lake", sampler="Euler a", steps=60, width=setting.size, height=setting.size)
        drawn(client, asked)
        author.saved()  # starts the helper
        idle = sorted(author.saved() for _ in range(saves))
        long = client.submit(Submission(request=asked.model_copy(update={"steps": 150, "batch_count": 100})))
        while not client.job(long.id).progress:
            time.sleep(0.05)
        drawing = sorted(author.saved() for _ in range(saves))
        client.cancel(long.id)
        helper = next(p for p in psutil.Process(client.health().pid).children() if "probe" in " ".join(p.cmdline()))
        memory = round(helper.memory_info().rss / MIB, 1)

        def disturbed() -> float:
            with author.at_work():
                return drawn(client, asked)[Done]

        drawn(client, asked)
        pairs = alternate(setting.pairs, disturbed, lambda: drawn(client, asked)[Done])
    return {
        "idle": quantiles(idle),
        "drawing": quantiles(drawing),
        "slowdown": summary(a / b for a, b in pairs),
        "job_seconds": summary(b for _, b in pairs),
        "helper_mib": memory,
    }


def crowd(number: int, saves: int) -> dict[str, Any]:
    """What so many extensions cost."""
    asked = GenerationRequest(prompt="lake", sampler="Euler a", steps=2, width=64, height=64)
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(EMBEDDED_MODEL, SIZES["demo"], 1, Path(scratch))
        folder = setting.scratch / "data" / "extensions"
        folder.mkdir(parents=True)
        for index in range(number):
            (folder / f"small{index}.py").write_text(SMALL.replace("NAME", f"small{index}"))
        seconds = []
        for _ in ("first", "restart"):
            began = time.perf_counter()
            with host(setting) as client:
                drawn(client, asked)
                seconds.append(time.perf_counter() - began)
                author = Author(client, folder) if len(seconds) == 2 else None
                reload = sorted(author.saved() for _ in range(saves)) if author else []
    return {"first": round(seconds[0], 2), "restart": round(seconds[1], 2), "reload": quantiles(reload)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="pairs of jobs [5]")
    parser.add_argument("--saves", type=int, default=40, metavar="N", help="saves, idle and drawing each [40]")
    parser.add_argument("--crowd", action="store_true", help=f"{MANY} extensions against {FEW}, with the ratios")
    given = parser.parse_args()
    about = machine()
    if given.crowd:
        few, many = crowd(FEW, given.saves), crowd(MANY, given.saves)
        ratios = {"first": many["first"] / few["first"], "restart": many["restart"] / few["restart"]}
        ratios["reload"] = many["reload"]["median"] / few["reload"]["median"]
        found = {"few": few, "many": many, "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()}}
        print(json.dumps({"benchmark": "reload-crowd", "machine": about, "extensions": [FEW, MANY], **found}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(EMBEDDED_MODEL, SIZES["demo"], given.pairs, Path(scratch))
        found = measure(setting, given.saves)
    extension = {"files": FILES, "kilobytes_each": KILOBYTES}
    print(json.dumps({"benchmark": "reload", "machine": about, "extension": extension, **found}))


if __name__ == "__main__":
    main()

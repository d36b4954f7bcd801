"""What passes cost on top of the modules they run: `python -m benchmarks.passes` prints one line of JSON.

hires     a hires fix over the sum of its own calls: of the network, of the VAE, of the text encoder
one_key   the same of a job that goes on from another's first pass; `first_pass_calls`: how many it makes of that again
input     to the first step of a picture that starts from one of 20 MB, sent over the host's socket: how much later than
          that of one that starts from noise; each is another picture
"""

import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.engine import machine, summary
from sdterm import Engine, load_plugins
from sdterm.api import Entry, Submission
from sdterm.client import connect
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.core.settings.settings import resolve
from sdterm.engine.run import FirstPass
from sdterm.events import Done, Failed, Step
from sdterm.plugins.sd.components import SDComponents
from sdterm.request import make_request

STEPS, SIZE, RUNS = 12, 128, 5
BYTES = 20_000_000
METHODS = ("encode", "denoise", "decode", "encode_image")
FIRST = {"prompt": "sunset, lake, red house", "steps": STEPS, "seed": 1, "width": SIZE, "height": SIZE}
HIRES = {**FIRST, "hires": True, "hires_scale": 1.5, "denoising_strength": 0.6}


@contextmanager
def timed() -> Iterator[dict[str, list[float]]]:
    """Seconds of each call of the modules."""
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    originals = {name: getattr(SDComponents, name) for name in METHODS}

    def watch(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = originals[name](*arguments)
            seconds[name].append(time.perf_counter() - began)
            return result

        return call

    try:
        for name in METHODS:
            setattr(SDComponents, name, watch(name))
        yield seconds
    finally:
        for name, original in originals.items():
            setattr(SDComponents, name, original)


def picture(number: int) -> bytes:
    """A PNG of 20 MB, unlike all others."""
    side = int((BYTES / 3) ** 0.5) + 1
    file = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(number).randbytes(3 * side * side)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def init_image(folder: Path) -> dict[str, Any]:
    """Milliseconds, on a warm model."""
    settings = resolve({}, {"SDTERM_DATA": str(folder), "SDTERM_DEVICE": "cpu"})
    pictures = iter([picture(number) for number in range(RUNS + 1)])

    with connect(settings) as host:

        def first_step(*pictures: bytes) -> float:
            after, began = host.health().last_event, time.perf_counter()
            request = make_request(**FIRST, init_images=[host.put_input(each) for each in pictures])
            job = host.submit(Submission(request=request)).id
            events = host.events(job=job, after=after)
            took = next(time.perf_counter() - began for entry in events if isinstance(entry.event, Step))
            assert isinstance([entry.event for entry in until_done(events)][-1], Done)
            return 1000 * took

        first_step(), first_step(next(pictures))
        pairs = [(first_step(), first_step(next(pictures))) for _ in range(RUNS)]
        host.stop()
    return {
        "noise_ms": summary(noise for noise, _ in pairs),
        "picture_ms": summary(drawn for _, drawn in pairs),
        "more_ms": summary(drawn - noise for noise, drawn in pairs),
    }


def until_done(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Up to the end of the job."""
    for entry in entries:
        yield entry
        if isinstance(entry.event, Done | Failed):
            return


def main() -> None:
    """Measure and print."""
    engine, plugins = Engine(library=Library(Path(), chosen=EMBEDDED_MODEL), device="cpu"), load_plugins()
    with tempfile.TemporaryDirectory() as folder:

        def run(tape: str, first_pass: FirstPass | None = None, **fields: Any) -> tuple[float, dict[str, list[float]]]:
            with timed() as seconds:
                began = time.perf_counter()
                *_, last = engine.run(make_request(**fields), plugins, tape=Path(folder, tape), first_pass=first_pass)
                wall = time.perf_counter() - began
            assert isinstance(last, Done), last
            return wall, seconds

        def over_its_calls(upscaler: str, first_pass: FirstPass | None = None) -> dict[str, Any]:
            ratios, calls = [], 0
            for number in range(RUNS):
                wall, seconds = run(
                    f"{upscaler}-{number}-{bool(first_pass)}", first_pass, **HIRES, hires_upscaler=upscaler
                )
                ratios.append(wall / sum(map(sum, seconds.values())))
                calls = len(seconds["denoise"])
            return {"over_its_calls": summary(ratios), "calls": calls}

        run("first", **FIRST)  # warms up, too
        kept = FirstPass(Path(folder, "first"), 0)
        print(
            json.dumps(
                {
                    "hires": {upscaler: over_its_calls(upscaler) for upscaler in ("Latent", "Lanczos")},
                    "one_key": {upscaler: over_its_calls(upscaler, kept) for upscaler in ("Latent", "Lanczos")},
                    "first_pass_calls": STEPS,
                    "input": init_image(Path(folder, "data")),
                    "machine": machine(),
                }
            )
        )


if __name__ == "__main__":
    main()

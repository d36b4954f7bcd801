"""What passes cost on top of the modules they run: `python -m benchmarks.passes` prints one line of JSON.

hires     a hires fix over the sum of its own calls: of the network, of the VAE, of the text encoder
one_key   the same of a job that goes on from another's first pass; `first_pass_calls`: how many it makes of that again
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine import machine, summary
from sdterm import Engine, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.engine.run import FirstPass
from sdterm.events import Done
from sdterm.plugins.sd.components import SDComponents
from sdterm.request import make_request

STEPS, SIZE, RUNS = 12, 128, 5
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
                    "machine": machine(),
                }
            )
        )


if __name__ == "__main__":
    main()

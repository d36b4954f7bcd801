"""What a pipeline costs over diffusers' own call of it: `python -m benchmarks.pipelines` prints one line of JSON.

drawing   a picture through host and worker over the pipeline's own call in a process of its own: seconds, and the most
          memory that the drawing process had. FLUX.1's pipeline with 4 GB of random weights, which takes more than half
          a second for each call of its denoiser
tap       milliseconds that recording a call takes on the thread that samples, with inputs of FLUX.1's sizes at
          1024x1024
loading   that folder by sdterm, its request planned, over `from_pretrained`; both from a warm disk, in the same dtype,
          until every page of the weights was read (both map the files)

Candidates take turns, in changing order, and a ratio is the median of the pairs' ratios. Processor seconds say the same
with less noise where other programs use the machine; sdterm's are of worker and host.
"""

import argparse
import functools
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil

from benchmarks.engine import MIB, ROOT, alternate, machine, offline, summary
from sdterm.api import Submission
from sdterm.client import Client, connect
from sdterm.core.settings.settings import resolve
from sdterm.events import Done, Failed
from sdterm.request import make_request

NAME = "large-flux"
SIDE, STEPS, WORDS = 128, 4, 32
FULL_SIZE, FULL_WORDS, FULL_WIDTH = 1024, 512, 4096
"""FLUX.1's, of a picture and of its text."""
SIZES = {"tiny": (1, 1, 1), "large": (24, 2, 3), "gpu": (24, 4, 8)}
"""Heads of 128 channels, double and single blocks: `large` has 4.4 GB in float32, `gpu` 5 GB in half precision."""


def folder_of(size: str, cache: Path) -> Path:
    """FLUX.1's pipeline of that size with random weights, made where it is not there yet."""
    folder = cache / "models" / "Stable-diffusion" / f"{NAME}-{size}"
    if not (folder / "model_index.json").exists():
        _write(folder, *SIZES[size], half=size == "gpu")
    return folder


def _write(folder: Path, heads: int, double: int, single: int, *, words: int = 32, half: bool = False) -> None:
    """words: how many numbers a word of the text is."""
    import diffusers
    import torch

    from tests.pipelines.building import PIPELINES, fill, t5_text

    pipeline = PIPELINES["flux"]()
    transformer: Any = diffusers.FluxTransformer2DModel(
        num_layers=double,
        num_single_layers=single,
        num_attention_heads=heads,
        joint_attention_dim=words,
        pooled_projection_dim=16,
        guidance_embeds=True,
    )
    pipeline.register_modules(transformer=transformer, text_encoder_2=t5_text(words))
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module) and part is not transformer:
            fill(part)
    with torch.no_grad():
        for weight in transformer.parameters():
            weight.uniform_(-0.02, 0.02)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module) and half:
            part.to(torch.bfloat16)
    pipeline.save_pretrained(folder)


def prompt(number: int) -> str:
    """A new text each time, so that nobody's cache answers, and always of one length."""
    return f"a red circle on a blue square, photo {number % 10}{number // 10 % 10}"


# --- drawing ----------------------------------------------------------------------------------------------------------


def drawing(size: str, pairs: int, cache: Path) -> dict[str, Any]:
    """Through host and worker, from asking to the saved file; by a process of diffusers, to the PNG in memory."""
    folder = folder_of(size, cache)
    numbers = iter(range(1, 10_000))
    with Host(cache, folder.name) as ours, Peer("diffusers", folder) as theirs:
        ours.draw(0), theirs.ask("draw", 0)
        turns = alternate(pairs, lambda: ours.draw(next(numbers)), lambda: theirs.draw(next(numbers)))
        last, peak = theirs.ask("draw", 0), ours.peak()
    return {
        **_compared(turns),
        "memory": round(peak / last["peak"], 4),
        "seconds_a_call": round(last["seconds"] / STEPS, 3),
        "memory_mib": {"sdterm": round(peak / MIB), "diffusers": round(last["peak"] / MIB)},
    }


def _compared(turns: Sequence[tuple["Cost", "Cost"]]) -> dict[str, Any]:
    """sdterm's costs over diffusers'."""
    return {
        "time": summary(a.wall / b.wall for a, b in turns),
        "processor_time": summary(a.processor / b.processor for a, b in turns),
        "seconds": {"sdterm": summary(a.wall for a, _ in turns), "diffusers": summary(b.wall for _, b in turns)},
        "processor_seconds": {
            "sdterm": summary(a.processor for a, _ in turns),
            "diffusers": summary(b.processor for _, b in turns),
        },
    }


def fields_of(number: int) -> dict[str, Any]:
    """Of the request; `call_of` is the same for diffusers."""
    size = {"width": SIDE, "height": SIDE, "steps": STEPS}
    return {"prompt": prompt(number), "seed": 1, "pipeline_options": {"max_sequence_length": WORDS}} | size


def call_of(number: int) -> dict[str, Any]:
    size = {"width": SIDE, "height": SIDE, "num_inference_steps": STEPS}
    return {"prompt": prompt(number), "max_sequence_length": WORDS} | size


class Host:
    """A host of its own, and its worker."""

    def __init__(self, data: Path, model: str) -> None:
        os.environ |= {"SDTERM_DATA": str(data), "SDTERM_DEVICE": "cpu"}
        self._client: Client = connect(resolve({}, os.environ))
        self._model = model

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop()
        self._client.close()

    def draw(self, number: int) -> "Cost":
        """From asking to the end."""
        began, before = time.perf_counter(), self._processor()
        request = make_request(**fields_of(number), model=self._model)
        job = self._client.submit(Submission(request=request)).id
        for entry in self._client.events(job=job, after=0):
            if isinstance(entry.event, Failed):
                raise SystemExit(entry.event.message)
            if isinstance(entry.event, Done):
                return Cost(time.perf_counter() - began, self._processor() - before)
        raise SystemExit("The host has ended.")

    def _processor(self) -> float:
        health = self._client.health()
        pids = [health.pid, *(worker.pid for worker in health.workers if worker.pid)]
        return sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids))

    def peak(self) -> int:
        """Bytes that the worker had at most."""
        return peak_of(next(worker.pid for worker in self._client.health().workers if worker.pid))


class Peer:
    """A process of its own that loads and draws on demand, with diffusers alone or with sdterm's engine."""

    def __init__(self, name: str, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.pipelines", "--serve", name, "--cache", str(folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=offline(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def draw(self, number: int) -> "Cost":
        return self._cost(self.ask("draw", number))

    def load(self) -> "Cost":
        return self._cost(self.ask("load"))

    def _cost(self, said: dict[str, Any]) -> "Cost":
        return Cost(said["seconds"], said["processor"])

    def ask(self, what: str, number: int = 0) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        print(what, number, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("A process of the benchmark died; what it said is above.")
        found: dict[str, Any] = json.loads(line)
        return found


def peak_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def serve(name: str, folder: Path) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    peer: Theirs | Ours = Theirs(folder) if name == "diffusers" else Ours(folder)
    for line in sys.stdin:
        what, number = line.split()
        if what == "load":
            peer.free()
            gc.collect()
        began = now()
        if what == "load":
            began = peer.load()
            _read_all(peer.modules())
        else:
            peer.draw(int(number))
        ended = now()
        cost = {"seconds": ended.wall - began.wall, "processor": ended.processor - began.processor}
        print(json.dumps(cost | {"peak": peak_of(os.getpid())}), file=replies, flush=True)


def now() -> "Cost":
    """So far, of this process."""
    return Cost(time.perf_counter(), time.process_time())


def _read_all(modules: Iterable[Any]) -> None:
    for module in modules:
        for weight in module.parameters():
            weight.detach().flatten()[:: 4096 // weight.element_size()].sum()


class Theirs:
    """diffusers, as its documentation says."""

    def __init__(self, folder: Path) -> None:
        import diffusers

        self._folder, self._loader = folder, diffusers.DiffusionPipeline
        self._pipeline: Any = None

    def free(self) -> None:
        self._pipeline = None

    def modules(self) -> Iterable[Any]:
        return (part for part in self._pipeline.components.values() if hasattr(part, "parameters"))

    def load(self) -> "Cost":
        """Returns when it began."""
        import torch

        began = now()

        self._pipeline = self._loader.from_pretrained(self._folder, torch_dtype=torch.float32, local_files_only=True)
        self._pipeline.set_progress_bar_config(disable=True)
        return began

    def draw(self, number: int) -> None:
        import torch

        if self._pipeline is None:
            self.load()
        generator = torch.Generator().manual_seed(1)
        self._pipeline(**call_of(number), generator=generator).images[0].save(BytesIO(), "PNG", compress_level=4)


class Ours:
    """sdterm's engine without a host."""

    def __init__(self, folder: Path) -> None:
        from sdterm import Engine, load_plugins
        from sdterm.core.library.checkpoints import Library

        self._plugins, self._name = load_plugins(), folder.name
        self.engine = Engine(library=Library(folder.parents[2]), device="cpu")

    def free(self) -> None:
        self.engine.unload()

    def modules(self) -> Iterable[Any]:
        assert self.engine.model
        return self.engine.model.components.modules.values()

    def load(self) -> "Cost":
        """Returns when it began."""
        told: list[Cost] = []
        self.engine.preload(make_request(**fields_of(0), model=self._name), self._plugins, lambda _: told.append(now()))
        return told[0]

    def draw(self, number: int, **fields: Any) -> None:
        request = make_request(**fields_of(number) | fields, model=self._name)
        for event in self.engine.run(request, self._plugins):
            if isinstance(event, Failed):
                raise SystemExit(event.message)


# --- tap --------------------------------------------------------------------------------------------------------------


def tap(size: str, pairs: int, cache: Path) -> dict[str, Any]:
    """The denoiser's calls as the pipeline makes them, minus what is spent in the denoiser's own code; in this process.
    Processor seconds of the thread leave out what the machine does besides."""
    import diffusers

    kind: Any = diffusers.FluxTransformer2DModel
    outside, inside = Stopwatch(), Stopwatch()
    kind.__call__, kind.forward = outside.timing(kind.__call__), inside.timing(kind.forward)
    peer = Ours(_full_size(cache))
    fields = {"width": FULL_SIZE, "height": FULL_SIZE, "pipeline_options": {"max_sequence_length": FULL_WORDS}}
    for number in range(pairs):
        peer.draw(number, **fields, steps=2 * STEPS)
    calls = list(zip(outside.seconds, inside.seconds, strict=True))[1:]
    return {
        "ms": summary(1000 * (a.wall - b.wall) for a, b in calls),
        "processor_ms": summary(1000 * (a.processor - b.processor) for a, b in calls),
        "seconds_a_call": summary(b.wall for _, b in calls),
    }


def _full_size(cache: Path) -> Path:
    """A denoiser of one small block that is told as much as FLUX.1's: 4096 cells, and 512 words of 4096 numbers."""
    folder = cache / "models" / "Stable-diffusion" / f"{NAME}-full"
    if not (folder / "model_index.json").exists():
        _write(folder, 1, 1, 1, words=FULL_WIDTH)
    return folder


class Stopwatch:
    """What the calls of a function cost."""

    def __init__(self) -> None:
        self.seconds: list[Cost] = []

    def timing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            found = function(*arguments, **named)
            self.seconds.append(Cost(time.perf_counter() - wall, time.thread_time() - processor))
            return found

        return timed


@dataclass(frozen=True)
class Cost:
    wall: float
    processor: float


# --- loading ----------------------------------------------------------------------------------------------------------


def loading(size: str, pairs: int, cache: Path) -> dict[str, Any]:
    folder = folder_of(size, cache)
    with Peer("sdterm", folder) as ours, Peer("diffusers", folder) as theirs:
        for peer in (ours, theirs):
            peer.ask("draw")  # what takes long to import is imported, and its file is hashed
        turns = alternate(pairs, ours.load, theirs.load)
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return {**_compared(turns), "mib": round(weights / MIB)}


PARTS = {"drawing": drawing, "tap": tap, "loading": loading}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="comma-separated [all]")
    parser.add_argument("--size", choices=SIZES, default="large", help="tiny tries everything out [large]")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="turns of each candidate [5]")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the weights are kept [a temporary folder]")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ |= offline()
    if given.serve:
        serve(given.serve, given.cache)
        return
    parts = given.only.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--only has {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary)
        results = {name: PARTS[name](given.size, given.pairs, cache) for name in PARTS if name in parts}
    print(json.dumps({"benchmark": "pipelines", "size": given.size, "machine": facts, **results}))


if __name__ == "__main__":
    main()

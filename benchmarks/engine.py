"""What the engine costs on top of the network it runs: `python -m benchmarks.engine` prints one line of JSON.

overhead          a run's sampling over the bare network calls in it
versus_diffusers  time and peak memory of a picture, over StableDiffusionPipeline's
first_picture     `sdterm generate --local` from a cold process, minus imports and bare network calls

Candidates take turns, in changing order, and a ratio is the median of the pairs' ratios, so that what else happens on
the machine hits both alike.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.candidates import CFG_SCALE, STEPS, prompt
from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.plugins.sd.components import SDComponents
from tools import full_size

ROOT = Path(__file__).parents[1]
SIZES = {"demo": 128, "sd15": 256}
PAIRS = {"demo": 7, "sd15": 3}
MIB = 2**20

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Setting:
    """What is drawn, how often, and where files may go."""

    checkpoint: Path
    size: int
    pairs: int
    scratch: Path


def overhead(setting: Setting) -> dict[str, Any]:
    """Sampling (from `started` to the last `step`, text encoding taken out) over as many bare calls of the network
    with the same tensors; and over the calls inside that very run, which no neighbour on the machine can disturb.
    The same with all the trimmings: previews, and a tape on disk."""
    engine = Engine(library=Library(setting.scratch, chosen=setting.checkpoint), device="cpu")
    plugins = load_plugins()
    numbers = iter(range(10_000))

    def run(trimmings: bool = False) -> Run:
        number = next(numbers)
        tape = setting.scratch / f"{number}.tape" if trimmings else None
        request = GenerationRequest(
            prompt=prompt(number), steps=STEPS, cfg_scale=CFG_SCALE, seed=1, width=setting.size, height=setting.size
        )
        times: dict[str, float] = {}
        with stopwatches() as watches:
            began = time.perf_counter()
            for event in engine.run(request, plugins, tape=tape, previews=trimmings):
                times[event.event] = time.perf_counter() - began
        assert len(watches["denoise"].seconds) == STEPS, times
        return Run(times, watches)

    components, arguments = run().watches["denoise"].latest  # warms up, too

    def bare() -> float:
        with torch.inference_mode():
            began = time.perf_counter()
            for _ in range(STEPS):
                x, sigma, cond, sampling = arguments
                t = sampling.sigma_to_t(sigma)
                components.modules["unet"](x, t, encoder_hidden_states=cond["context"], return_dict=False)
            return time.perf_counter() - began

    # A thread of its own, as in the engine: OpenMP's first team waits more eagerly than later ones.
    in_thread(bare)
    pairs = alternate(setting.pairs, run, lambda: in_thread(bare))
    trimmed = [run(trimmings=True) for _ in range(max(1, setting.pairs // 2))]
    runs = [engine_run for engine_run, _ in pairs]
    return {
        "sampling_over_bare_calls": summary(r.sampling / seconds for r, seconds in pairs),
        "sampling_over_its_own_calls": summary(r.sampling / r.of("denoise") for r in runs),
        "with_previews_and_tape_over_its_own_calls": summary(r.sampling / r.of("denoise") for r in trimmed),
        "run_over_its_own_modules": summary(r.whole / r.of("encode", "denoise", "decode") for r in runs),
        "seconds": {
            "bare_calls": summary(seconds for _, seconds in pairs),
            "sampling": summary(r.sampling for r in runs),
            "text_encoding": summary(r.of("encode") for r in runs),
            "decoding": summary(r.of("decode") for r in runs),
            "run": summary(r.whole for r in runs),
            "run_outside_modules": summary(r.whole - r.of("encode", "denoise", "decode") for r in runs),
        },
    }


@dataclass
class Stopwatch:
    """The calls of one method."""

    seconds: list[float] = field(default_factory=list)
    latest: tuple[Any, tuple[Any, ...]] = (None, ())


@dataclass
class Run:
    """When a run's events came (the last of each kind), and what its modules took."""

    times: dict[str, float]
    watches: dict[str, Stopwatch]

    def of(self, *methods: str) -> float:
        return sum(sum(self.watches[method].seconds) for method in methods)

    @property
    def sampling(self) -> float:
        return self.times["step"] - self.times["started"] - self.of("encode")

    @property
    def whole(self) -> float:
        return self.times["done"]


@contextmanager
def stopwatches() -> Iterator[dict[str, Stopwatch]]:
    """Time the modules inside a run."""
    watches = {name: Stopwatch() for name in ("encode", "denoise", "decode")}
    originals = {name: getattr(SDComponents, name) for name in watches}

    def timed(name: str) -> Callable[..., Any]:
        def call(components: SDComponents, *arguments: Any) -> Any:
            began = time.perf_counter()
            result = originals[name](components, *arguments)
            watches[name].seconds.append(time.perf_counter() - began)
            watches[name].latest = (components, arguments)
            return result

        return call

    try:
        for name in watches:
            setattr(SDComponents, name, timed(name))
        yield watches
    finally:
        for name, original in originals.items():
            setattr(SDComponents, name, original)


def versus_diffusers(setting: Setting) -> dict[str, Any]:
    """A picture, from prompt to PNG, by two processes that take turns; then each one's peak memory (over what it had
    when its libraries were imported) after loading and drawing once."""
    with Candidate("sdterm", setting) as ours, Candidate("diffusers", setting) as theirs:
        numbers = iter(range(1, 10_000))
        pairs = alternate(setting.pairs, lambda: ours.draw(next(numbers)), lambda: theirs.draw(next(numbers)))
    return {
        "time": summary(a / b for a, b in pairs),
        "memory": round(ours.memory / theirs.memory, 4),
        "seconds": {"sdterm": summary(a for a, _ in pairs), "diffusers": summary(b for _, b in pairs)},
        "load_and_first_seconds": {c.name: round(c.first, 3) for c in (ours, theirs)},
        "memory_mib": {c.name: round(c.memory / MIB, 1) for c in (ours, theirs)},
        "imports_mib": {c.name: round(c.baseline / MIB, 1) for c in (ours, theirs)},
    }


class Candidate:
    """A process of `benchmarks.candidates` that loads, draws once, and then draws on demand."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        arguments = [name, str(setting.checkpoint), str(setting.size), str(setting.scratch)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.candidates", *arguments],
            cwd=ROOT, env=offline(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        ready = self._reply()
        self.baseline: int = ready["baseline"]
        self.memory: int = ready["peak"] - ready["baseline"]
        self.first: float = ready["first"]

    def __enter__(self) -> "Candidate":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def draw(self, number: int) -> float:
        assert self._process.stdin
        print(number, file=self._process.stdin, flush=True)
        return float(self._reply()["seconds"])

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The candidate {self.name} died; what it said is above.")
        reply: dict[str, Any] = json.loads(line)
        return reply


def first_picture(setting: Setting) -> dict[str, Any]:
    """Seconds from typing the command to the saved file, minus a process that only imports and calls the network.
    The latter imports either like sdterm, past diffusers' front doors, or as its documentation says (`plain`).
    Processor seconds say the same with less noise where other programs use the machine."""
    data = setting.scratch / "data"

    def generate() -> Cost:
        command = ["sdterm", "generate", "--local", "--no-show", "--size", "128x128", "--data-dir", str(data)]
        return process([*command, "--model", EMBEDDED_MODEL.stem, prompt(0)])[0]

    def bare(name: str) -> Cost:
        cost, output = process(["benchmarks.candidates", name])
        loading = json.loads(output)
        return Cost(cost.wall - loading["wall"], cost.cpu - loading["cpu"])

    generate(), bare("bare"), bare("bare-plain")  # a warm disk, and the checkpoint's hash in the cache
    strict = alternate(setting.pairs, generate, lambda: bare("bare"))
    plain = alternate(setting.pairs, generate, lambda: bare("bare-plain"))
    return {
        "seconds_over_imports_and_calls_fastest_of_each": fastest(strict),
        "seconds_over_plain_imports_and_calls_fastest_of_each": fastest(plain),
        "seconds_over_imports_and_calls": summary(a.wall - b.wall for a, b in strict),
        "cpu_seconds_over_imports_and_calls": summary(a.cpu - b.cpu for a, b in strict),
        "seconds_over_plain_imports_and_calls": summary(a.wall - b.wall for a, b in plain),
        "cpu_seconds_over_plain_imports_and_calls": summary(a.cpu - b.cpu for a, b in plain),
        "seconds": {
            "generate": summary(a.wall for a, _ in strict + plain),
            "imports_and_calls": summary(b.wall for _, b in strict),
            "plain_imports_and_calls": summary(b.wall for _, b in plain),
        },
    }


@dataclass
class Cost:
    """Seconds of a process, on the wall and of processors."""

    wall: float
    cpu: float


def fastest(pairs: Sequence[tuple[Cost, Cost]]) -> float:
    """The least disturbed run of each: what else the machine does only ever adds to a cold start's seconds."""
    return round(min(a.wall for a, _ in pairs) - min(b.wall for _, b in pairs), 4)


def process(module: Sequence[str]) -> tuple[Cost, str]:
    """A Python module's run as a process of its own: what it cost, and its standard output."""
    wall, cpu = time.perf_counter(), _children_cpu()
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=ROOT, env=offline(), capture_output=True, text=True, check=False
    )
    cost = Cost(time.perf_counter() - wall, _children_cpu() - cpu)
    if done.returncode:
        raise SystemExit(f"{' '.join(module)} failed:\n{done.stderr}")
    return cost, done.stdout


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def offline() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}


def alternate(pairs: int, a: Callable[[], A], b: Callable[[], B]) -> list[tuple[A, B]]:
    """Both, in turn, a first and b first."""
    found = []
    for pair in range(pairs):
        if pair % 2:
            second = b()
            found.append((a(), second))
        else:
            found.append((a(), b()))
    return found


def in_thread(work: Callable[[], float]) -> float:
    results: list[float] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def summary(values: Iterable[float]) -> dict[str, float]:
    found = list(values)
    return {
        "median": round(statistics.median(found), 4),
        "min": round(min(found), 4),
        "max": round(max(found), 4),
        "n": len(found),
    }


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "openmp": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "KMP_"))},
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


PARTS = {"overhead": overhead, "versus_diffusers": versus_diffusers, "first_picture": first_picture}


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
        (given.cache or scratch).mkdir(parents=True, exist_ok=True)
        checkpoint = EMBEDDED_MODEL if given.model == "demo" else full_size.write("sd15", given.cache or scratch)
        setting = Setting(checkpoint, SIZES[given.model], given.pairs or PAIRS[given.model], scratch)
        results = {name: PARTS[name](setting) for name in PARTS if name in parts}
    print(json.dumps({"benchmark": "engine", "model": given.model, "size": setting.size, "machine": facts, **results}))


if __name__ == "__main__":
    main()

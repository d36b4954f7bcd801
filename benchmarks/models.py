"""What model files cost: `python -m benchmarks.models` prints one line of JSON per number.

load_over_read    reading a 4 GB checkpoint into a model, over reading its file once; both from the page cache
touch_over_read   the same with every page of every weight looked at, as the first network call does
host_memory       what the process has more with that model, over the file's size
switch_ms         going back to a model that stayed in memory (`checkpoints_limit`)
network_over_read reading a large LoRA for that model, over reading its file once
weight_over_step  giving a LoRA that is on another weight, over a step at 512x512 with prompt and negative prompt
switches_leak     what the process has more after fifty changes between two LoRAs and none, in MiB

The checkpoint is SD 1.5's size in float32, which is kept. Its hash is known, as it is once the host has read the file.
Ratios are medians over turns, by the wall and by the processor time of the process; the latter says the same with less
noise where other programs use the machine.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.engine import MIB, ROOT, machine, offline
from sdterm.core.library.checkpoints import CheckpointFile, Library
from tools import full_size

BUFFER = 16 * MIB
TURNS = 5
WARM, SWITCHES = 15, 51
"""Multiples of three, so that no network is on at the end. The first turns are not counted: what the allocator keeps of
weights that were let go of grows until then."""

Number = Callable[[Path, Path], Mapping[str, Any]]
"""(checkpoint, folder for what is written) → fields of its line."""


def load_over_read(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    return {"limit": 1.3, **_over_read(checkpoint, scratch, touched=False)}


def touch_over_read(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    return _over_read(checkpoint, scratch, touched=True)


def host_memory(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    """In a process of its own, after the demo model was loaded there and let go of; all weights looked at."""
    command = [sys.executable, "-m", "benchmarks.models", "--in-this-process", str(checkpoint), str(scratch)]
    done = subprocess.run(command, cwd=ROOT, env=offline(), stdout=subprocess.PIPE, text=True, check=True)
    before, after, peak = json.loads(done.stdout)
    size = checkpoint.stat().st_size
    return {
        "limit": 1.1,
        "value": round((peak - before) / size, 4),
        "after_loading": round((after - before) / size, 4),
        "own_mib": before // MIB,
    }


def switch_ms(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    from sdterm import Engine
    from sdterm.core.settings.paths import EMBEDDED_MODEL

    engine = Engine(library=Library(scratch, chosen=checkpoint), device="cpu", models=2)
    names = (EMBEDDED_MODEL.stem, checkpoint.stem)
    for name in names:
        _preload(engine, name)
    seconds = [_timed(partial(_preload, engine, names[turn % 2]))[0] for turn in range(2 * TURNS)]
    return {"limit": 300, "value": round(1000 * statistics.median(seconds), 1), "max": round(1000 * max(seconds), 1)}


def network_over_read(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    (components, _), format = _with(checkpoint, scratch), _lora_format()
    path = _lora(scratch / "large.safetensors", components, rank=128)
    format.load(CheckpointFile(path), components)
    _read(path)
    turns = [
        (_timed(lambda: format.load(CheckpointFile(path), components)), _timed(lambda: _read(path)))
        for _ in range(4 * TURNS)
    ]
    return {"limit": 1.5, **_ratios(turns), "mib": round(path.stat().st_size / MIB)}


def weight_over_step(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    import torch

    from sdterm.hooks import SamplingOptions, TextOptions

    components, reader = _with(checkpoint, scratch)
    loaded = _lora_format().load(CheckpointFile(_lora(scratch / "usual.safetensors", components, rank=32)), components)
    levels = components.sampling(SamplingOptions())
    x, sigma = torch.randn(2, 4, 64, 64), levels.sigmas[500].expand(2)
    with torch.inference_mode():
        cond = components.encode(["a lake", ""], TextOptions(width=512, height=512))
        on = _switched(components, reader, _nothing(), _named("usual", loaded, 1.0))
        changes, steps = [], []
        for turn in range(TURNS):
            work = partial(_switched, components, reader, on, _named("usual", loaded, 0.5 + turn / 10))
            changes.append(_timed(work)[0])
            steps.append(_timed(lambda: components.denoise(x, sigma, cond, levels))[0])
        _switched(components, reader, on)
    changed, step = statistics.median(changes), statistics.median(steps)
    return {"limit": 1, "value": round(changed / step, 3), "seconds": round(changed, 3), "step": round(step, 3)}


def switches_leak(checkpoint: Path, scratch: Path) -> Mapping[str, Any]:
    import torch

    components, reader = _with(checkpoint, scratch)
    files = [_lora(scratch / f"{name}.safetensors", components, rank=8) for name in ("first", "second")]
    now, had = _nothing(), 0
    with torch.inference_mode():
        for turn in range(WARM + SWITCHES):
            networks = []
            if turn % 3 < 2:
                loaded = _lora_format().load(CheckpointFile(files[turn % 3]), components)
                networks = [*_named(files[turn % 3].stem, loaded, 1.0)]
            now = _switched(components, reader, now, networks)
            if turn == WARM - 1:
                had = _own()
    return {"limit": 32, "value": round((_own() - had) / MIB, 1), "switches": SWITCHES}


NUMBERS: tuple[Number, ...] = (
    load_over_read,
    touch_over_read,
    host_memory,
    switch_ms,
    network_over_read,
    weight_over_step,
    switches_leak,
)


# --- networks ---------------------------------------------------------------------------------------------------------


def _with(checkpoint: Path, scratch: Path) -> tuple[Any, CheckpointFile]:
    """The loaded model, and its file."""
    from sdterm import Engine

    engine = Engine(library=Library(scratch, chosen=checkpoint), device="cpu")
    _preload(engine, checkpoint.stem)
    assert engine.model
    return engine.model.components, CheckpointFile(checkpoint)


def _own() -> int:
    """Bytes of this process that are no file's."""
    return int(_status("RssAnon")) * 1024


def _status(name: str) -> str:
    """A number of KiB that Linux tells of this process."""
    return next(line for line in Path("/proc/self/status").read_text().splitlines() if name in line).split()[1]


def _nothing() -> Any:
    from sdterm.engine.networks import NO_NETWORKS

    return NO_NETWORKS


def _lora_format() -> Any:
    from sdterm.hooks import NetworkFormat

    return next(each for each in _plugins().all(NetworkFormat) if each.id == "lora")


def _lora(path: Path, components: Any, *, rank: int) -> Path:
    """One for every layer of the UNet's and the text encoder's transformers, under kohya's names, in float16."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for name, layer in components.layers.items():
        part, _, own = name.partition(".")
        weight = layer.module.weight
        if weight.dim() != 2 or not re.search("attn|ff.net|mlp", own):
            continue
        key = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[part] + own.replace(".", "_")
        out, width = weight.shape
        tensors[f"{key}.lora_down.weight"] = (torch.randn(rank, width) / width).half()
        tensors[f"{key}.lora_up.weight"] = (torch.randn(out, rank) / 100).half()
        tensors[f"{key}.alpha"] = torch.tensor(float(rank))
    save_file(tensors, path)
    return path


def _named(name: str, loaded: Any, weight: float) -> Sequence[Any]:
    from sdterm.core.planning.networks import NetworkPlan
    from sdterm.engine.networks import Network

    assert loaded.deltas and not loaded.unused
    return [Network(NetworkPlan(role="lora", name=name, sha256=name, text=weight, unet=weight), loaded)]


def _switched(components: Any, reader: CheckpointFile, now: Any, networks: Sequence[Any] = ()) -> Any:
    from sdterm.engine.networks import change

    return change(components, reader, now, networks)


# --- measuring --------------------------------------------------------------------------------------------------------


def _over_read(checkpoint: Path, scratch: Path, *, touched: bool) -> Mapping[str, Any]:
    from sdterm import Engine

    engine = Engine(library=Library(scratch, chosen=checkpoint), device="cpu")

    def load() -> None:
        _preload(engine, checkpoint.stem)
        if touched:
            _touch(engine)

    load()  # what is imported once
    _read(checkpoint)  # a warm disk
    turns = []
    for _ in range(TURNS):
        read = _timed(lambda: _read(checkpoint))
        engine.unload()
        turns.append((_timed(load), read))
    return _ratios(turns)


def _ratios(turns: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> Mapping[str, Any]:
    """turns: (wall and processor time of loading, the same of reading)."""
    ratios = [[a / b for a, b in zip(*turn, strict=True)] for turn in turns]
    wall, processor = (round(statistics.median(each), 3) for each in zip(*ratios, strict=True))
    loaded, read = (round(statistics.median(turn[which][0] for turn in turns), 4) for which in (0, 1))
    return {"value": wall, "of_processor_time": processor, "seconds": loaded, "seconds_of_reading": read}


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _read(path: Path) -> None:
    buffer = memoryview(bytearray(BUFFER))
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _preload(engine: Any, name: str) -> None:
    from sdterm import GenerationRequest

    engine.preload(GenerationRequest(prompt="", model=name, precision="full"), _plugins(), lambda event: None)


@cache
def _plugins() -> Any:
    from sdterm import load_plugins

    return load_plugins()


def _touch(engine: Any) -> None:
    """A number of each page."""
    for module in engine.model.components.modules.values():
        for weight in module.parameters():
            weight.flatten()[:: 4096 // weight.element_size()].sum()


def _measure_memory(checkpoint: Path, scratch: Path) -> None:
    """Print what this process has before and after loading, and at most."""
    from sdterm import Engine
    from sdterm.core.settings.paths import EMBEDDED_MODEL

    engine = Engine(library=Library(scratch, chosen=checkpoint), device="cpu")
    _preload(engine, EMBEDDED_MODEL.stem)
    _touch(engine)
    engine.unload()
    process = psutil.Process()
    before = process.memory_info().rss
    _preload(engine, checkpoint.stem)
    _touch(engine)
    after = process.memory_info().rss
    print(json.dumps([before, after, int(_status("VmHWM")) * 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ",".join(number.__name__ for number in NUMBERS)
    parser.add_argument("--only", default=names, metavar="NUMBERS", help="comma-separated [all]")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the 4.3 GB are kept [a temporary folder]")
    parser.add_argument("--in-this-process", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_this_process:
        _measure_memory(*given.in_this_process)
        return
    if unknown := set(given.only.split(",")) - set(names.split(",")):
        parser.error(f"--only has {', '.join(sorted(unknown))}; there are {names}")
    os.environ |= offline()
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        checkpoint = full_size.write("sd15", given.cache or scratch, float32=True)

        Library(scratch).sha256(checkpoint)
        for number in NUMBERS:
            if number.__name__ in given.only.split(","):
                line = {"number": number.__name__, **number(checkpoint, scratch), "machine": facts}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

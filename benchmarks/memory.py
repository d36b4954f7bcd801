"""What each plan costs: `python -m benchmarks.memory` prints one line of JSON, `tools.memory_page` makes a page of it.

plans     of each way to compute: seconds a step, seconds of the decoding, and the most memory it took (the process's,
          over what it had once its libraries were imported; on a GPU what torch allocated there)
in_turns  seconds a step of bf16 over float32's, and over stable-diffusion.cpp's, taken in turns

On a CPU, seconds are the processor's, which other programs on the machine change little, and of one thread unless
OMP_NUM_THREADS says otherwise. Each plan is drawn by a process of its own, with random weights of SD 1.5's size.
stable-diffusion.cpp needs an environment of its own: `--sdcpp PYTHON` names its interpreter.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.engine import ROOT, machine, offline, summary

Fields = Mapping[str, Any]

STEPS = 3
LEAN: Fields = {"memory": ["vae-tiling"], "batch_cond_uncond": False}
_SDCPP = """
import sys, time
from stable_diffusion_cpp import StableDiffusion
path, size, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
model = StableDiffusion(model_path=path, n_threads=threads, wtype="default", verbose=False)
draw = getattr(model, "generate_image", None) or model.txt_to_img
def seconds(count):
    began = time.process_time()
    draw(prompt="a red circle", width=size, height=size, sample_steps=count, cfg_scale=7.0, sample_method="euler")
    return time.process_time() - began
seconds(1)
print((seconds(1 + steps) - seconds(1)) / steps)
"""


def plans() -> dict[str, Fields]:
    """Ways to compute, by name: the usual one, each precision, and each memory optimizer that the plugins offer
    and that needs no time to prepare itself."""
    from sdterm import load_plugins
    from sdterm.hooks import MemoryOptimizer

    offered = load_plugins().all(MemoryOptimizer)
    optimizers = [each.id for each in offered if not each.default and not each.is_settled]
    return {
        "auto": {},
        "bf16": {"precision": "bf16"},
        "apart": {"batch_cond_uncond": False},
        **{name: {"memory": [name]} for name in optimizers},
        "bf16, channels-last": {"precision": "bf16", "memory": ["channels-last"]},
        "bf16, apart, vae-tiling": {"precision": "bf16", **LEAN},
    }


def measured(fields: Fields, checkpoint: Path, size: int, device: str, steps: int = STEPS) -> dict[str, Any]:
    """A plan, drawn in a process of its own."""
    given = json.dumps(
        {"fields": fields, "checkpoint": str(checkpoint), "size": size, "device": device, "steps": steps}
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--measure", given],
        cwd=ROOT, env=offline(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"reason": (done.stderr.strip() or "it died").splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(fields: Fields, checkpoint: str, size: int, device: str, steps: int) -> dict[str, Any]:
    """The same in this process."""
    import torch

    from sdterm import Engine, GenerationRequest, load_plugins
    from sdterm.core.library.checkpoints import Library
    from sdterm.events import Done, Failed, Image, ModelLoading, Step, Warning

    asked = {"prompt": "a red circle", "seed": 1, "steps": steps, "width": size, "height": size, "sampler": "Euler"}
    with tempfile.TemporaryDirectory() as scratch:
        plugins = load_plugins()
        engine = Engine(library=Library(Path(scratch), chosen=Path(checkpoint)), device=device)
        gpu = torch.device(device).type == "cuda"
        clock = time.perf_counter if gpu else time.process_time
        before, began = resident(), clock()
        at: list[float] = []
        times: dict[str, float] = {}
        for event in engine.run(GenerationRequest.model_validate({**asked, **fields}), plugins):
            now = clock()
            match event:
                case Step():
                    at.append(now)
                case ModelLoading(done=True):
                    times["load"] = now - began
                case Image():
                    times["decode"] = now - at[-1]
                case Warning(code="optimizer_skipped") | Failed():
                    return {"reason": event.message.removesuffix(" Going on without it.")}
                case Done():
                    times["whole"] = now - began
        peak = torch.cuda.max_memory_allocated() if gpu else resident(peak=True) - before
    step = statistics.median(after - before for before, after in pairwise(at))
    return {"step": round(step, 4), **{name: round(each, 3) for name, each in times.items()}, "peak": peak}


def resident(*, peak: bool = False) -> int:
    """Bytes of this process in memory, now or at most so far."""
    field = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def sdcpp(python: str, checkpoint: Path, size: int) -> float | str:
    """Seconds a step of stable-diffusion.cpp, or why there are none."""
    command = [python, "-c", _SDCPP, str(checkpoint), str(size), str(STEPS), os.environ["OMP_NUM_THREADS"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip() or "it died").splitlines()[-1]
    return float(done.stdout.splitlines()[-1])


def in_turns(checkpoint: Path, size: int, device: str, pairs: int, python: str | None) -> dict[str, Any]:
    """float32, bf16 and stable-diffusion.cpp, one after the other, several times."""
    full, bf16, cpp = [], [], []
    missing = "stable-diffusion.cpp is skipped: --sdcpp names no Python that has it"
    for _ in range(pairs):
        full.append(measured({"precision": "full"}, checkpoint, size, device)["step"])
        bf16.append(measured({"precision": "bf16"}, checkpoint, size, device)["step"])
        if python:
            taken = sdcpp(python, checkpoint, size)
            if isinstance(taken, float):
                cpp.append(taken)
            else:
                missing, python = f"stable-diffusion.cpp is skipped: {taken}", None
    found: dict[str, Any] = {
        "seconds_a_step": {"full": summary(full), "bf16": summary(bf16), **({"sdcpp": summary(cpp)} if cpp else {})},
        "bf16_over_full": summary(b / a for a, b in zip(full, bf16, strict=True)),
    }
    if not cpp:
        return {**found, "skipped": missing}
    return {**found, "bf16_over_sdcpp": summary(b / c for b, c in zip(bf16, cpp, strict=False))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("demo", "sd15", "sdxl"), default="sd15", help="random weights [sd15]")
    parser.add_argument("--size", type=int, default=256, help="side of the picture [256]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="turns of float32 and bf16 [3]")
    parser.add_argument("--only", metavar="PLANS", help="semicolon-separated; empty: the turns alone [all]")
    parser.add_argument("--sdcpp", metavar="PYTHON", help="that has stable-diffusion-cpp-python")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the weights are kept [a temporary folder]")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.measure:
        print(json.dumps(measure(**json.loads(given.measure))))
        return

    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from tools import full_size

    facts = {**machine(), "date": datetime.now(UTC).date().isoformat(), "note": given.note}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.cache or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = EMBEDDED_MODEL if given.model == "demo" else full_size.write(given.model, folder)
        chosen = {
            name: fields for name, fields in plans().items() if given.only is None or name in given.only.split(";")
        }
        found: dict[str, Any] = {}
        for name, fields in chosen.items():
            found[name] = measured(fields, checkpoint, given.size, given.device)
            print(name, found[name], file=sys.stderr, flush=True)
        turns = in_turns(checkpoint, given.size, given.device, given.pairs, given.sdcpp) if given.pairs else {}
    line = {"benchmark": "memory", "model": given.model, "size": given.size, "device": given.device, "machine": facts}
    print(json.dumps({**line, "plans": found, "in_turns": turns}))


if __name__ == "__main__":
    main()

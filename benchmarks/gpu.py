"""What drawing costs on a CUDA GPU: `python -m benchmarks.gpu` prints a line of JSON and adds it to results/gpu.jsonl.

sd15, sdxl      SD 1.5 at 512x512 and SDXL at 1024x1024 with random weights: seconds of a picture and the most memory
                that torch allocated meanwhile (`max_memory_allocated`), of the plans auto, fast, --medvram and
                --lowvram, and of the plainest loop around diffusers' own modules and scheduler (`diffusers`), in the
                same process, in turns
hires, inpaint  SD 1.5 in two passes to 1024x1024, and drawn over a masked half, both by the plan auto
pipeline        FLUX.1's pipeline at 1024x1024, a fifth as deep, with random weights: the same numbers, and over the
                pipeline's own call
bandwidth       bytes a second from pinned memory to the card: lowvram cannot be faster than its weights over that

It ends within `--minutes`: what there was no time for is named. `--device cpu --tiny` is a dry run with the demo model.
A machine without the wheels that this needs: `python -m benchmarks.wheels FOLDER` fills a folder to take along.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from benchmarks.engine import ROOT, machine, offline, summary

RESULTS = ROOT / "benchmarks" / "results" / "gpu.jsonl"
STEPS, CFG_SCALE = 20, 7.0
TURNS = 3
PLANS = ("auto", "fast", "--medvram", "--lowvram")
COMPILING = 150.0
"""Seconds that the plan fast may take to compile."""


def cases(tiny: bool) -> dict[str, dict[str, Any]]:
    """Each is a process: its model, the size of its pictures, what is asked for besides, and the plans."""
    side, large = (64, 128) if tiny else (512, 1024)
    hires = {"hires": True, "hires_scale": 2.0, "denoising_strength": 0.5}
    found: dict[str, dict[str, Any]] = {
        "sd15": {"model": "sd15", "size": side, "plans": PLANS, "diffusers": True},
        "sdxl": {"model": "sdxl", "size": large, "plans": ("auto", "--medvram", "--lowvram"), "diffusers": True},
        "hires": {"model": "sd15", "size": side, "plans": ("auto",), "fields": hires},
        "inpaint": {"model": "sd15", "size": side, "plans": ("auto",), "masked": True},
        "pipeline": {"model": "pipeline", "size": large, "plans": ("auto", "--lowvram"), "diffusers": True},
    }
    if tiny:
        small = {"pipeline": "tiny-pipeline", "sd15": "demo"}
        return {name: {**case, "model": small[case["model"]]} for name, case in found.items() if name != "sdxl"}
    return found


def checkpoint_of(model: str, cache: Path) -> Path:
    from benchmarks import pipelines
    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from tools import full_size

    if model == "demo":
        return EMBEDDED_MODEL
    sizes = {"pipeline": "gpu", "tiny-pipeline": "tiny"}
    return pipelines.folder_of(sizes[model], cache) if model in sizes else full_size.write(model, cache)


def plan(name: str) -> Mapping[str, Any] | None:
    """The fields of a request that a plan is; None where sdterm has no such flag yet."""
    from sdterm.core.settings.flags import FLAGS

    if not name.startswith("--"):
        return {} if name == "auto" else {"memory": [name]}
    flag = next(each for each in FLAGS if each.name == name)
    return flag.change(True) if flag.change else None


class Case:
    """One engine, and what is drawn with it."""

    def __init__(self, case: Mapping[str, Any], checkpoint: Path, device: str, steps: int, scratch: Path) -> None:
        import torch

        from sdterm import Engine, load_plugins
        from sdterm.core.library.checkpoints import Library

        self._torch, self._device, self._case, self._steps = torch, torch.device(device), case, steps
        self._plugins = load_plugins()
        self._engine = Engine(library=Library(scratch, chosen=checkpoint), device=device)
        side = case["size"]
        self._fields = {"prompt": "a red circle", "seed": 1, "width": side, "height": side, **case.get("fields", {})}
        if "pipeline" not in case["model"]:
            self._fields |= {"cfg_scale": CFG_SCALE, "sampler": "Euler", "scheduler": "Uniform"}
        if case.get("masked"):
            self._fields |= _masked(side, scratch)

    def measured(self) -> dict[str, Any]:
        """All plans."""
        found: dict[str, Any] = {}
        for name in self._case["plans"]:
            fields = plan(name)
            found[name] = {"reason": "sdterm has no such plan yet"} if fields is None else self._plan(fields)
            if name == "auto" and self._case.get("diffusers") and "seconds" in found[name]:
                found |= self._against_diffusers()
            self._engine.unload()
        return found

    def _plan(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        reason = self._draw(fields, 2).get("reason")
        if reason:
            return {"reason": reason}
        waited = self._settle(fields)
        drawn = [self._draw(fields, self._steps) for _ in range(TURNS)]
        if reason := next((each["reason"] for each in drawn if "reason" in each), None):
            return {"reason": reason}
        return {
            "seconds": summary(each["seconds"] for each in drawn),
            "peak": max(each["peak"] for each in drawn),
            **({"compiled_in": round(waited, 1)} if waited else {}),
        }

    def _settle(self, fields: Mapping[str, Any]) -> float:
        """Draw until the plan has done what it does in the background. Returns seconds."""
        waits = [o.is_settled for o in map(self._plugins.optimizer, fields.get("memory", ())) if o.is_settled]
        began = time.monotonic()
        while waits and time.monotonic() - began < COMPILING:
            assert self._engine.model
            if all(is_settled(self._engine.model.components) for is_settled in waits):
                break
            self._draw(fields, 1)
        return time.monotonic() - began if waits else 0.0

    def _draw(self, fields: Mapping[str, Any], steps: int) -> dict[str, Any]:
        from sdterm.events import Done, Failed, Warning
        from sdterm.request import make_request

        began = time.perf_counter()
        request = make_request(**{**self._fields, **fields, "steps": steps})
        for event in self._engine.run(request, self._plugins):
            match event:
                case Warning(code="optimizer_skipped") | Failed():
                    return {"reason": event.message}
                case Done():
                    return {"seconds": time.perf_counter() - began, "peak": event.memory_active}
        return {"reason": "it drew nothing"}

    def _against_diffusers(self) -> dict[str, Any]:
        """The plan auto and diffusers' modules, in turns."""
        is_pipeline = "pipeline" in self._case["model"]
        loop, ours, theirs = self._own_call() if is_pipeline else self._diffusers(), [], []
        self._timed(loop)
        for _ in range(TURNS):
            ours.append(self._draw({}, self._steps))
            theirs.append(self._timed(loop))
        pairs = [*zip(ours, theirs, strict=True)]
        return {
            "diffusers": {
                "seconds": summary(each["seconds"] for each in theirs),
                "peak": max(each["peak"] for each in theirs),
            },
            "auto_over_diffusers": {
                "seconds": summary(a["seconds"] / b["seconds"] for a, b in pairs),
                "peak": round(max(a["peak"] for a, _ in pairs) / max(1, *(b["peak"] for _, b in pairs)), 4),
            },
        }

    def _timed(self, loop: Callable[[], None]) -> dict[str, Any]:
        from sdterm.engine.device import memory_use, reset_peak

        reset_peak(self._device)
        began = time.perf_counter()
        with self._torch.inference_mode():
            loop()
        return {"seconds": time.perf_counter() - began, "peak": memory_use(self._device).active}

    def _own_call(self) -> Callable[[], None]:
        """The pipeline as it is in memory, called as diffusers' documentation says."""
        model, side = self._engine.model, self._case["size"]
        assert model
        pipeline = cast(Any, model.components).pipe

        def call() -> None:
            generator = self._torch.Generator().manual_seed(1)
            said = pipeline(
                "a red circle", width=side, height=side, num_inference_steps=self._steps, generator=generator
            )
            said.images[0].save(BytesIO(), "PNG", compress_level=4)

        return call

    def _diffusers(self) -> Callable[[], None]:
        """diffusers' modules as they are, its Euler scheduler, and the loop of its pipelines around them."""
        from diffusers import EulerDiscreteScheduler
        from PIL import Image

        from sdterm.hooks import TextOptions

        torch, model = self._torch, self._engine.model
        assert model
        components: Any = model.components
        unet, vae, size = components.modules["unet"], components.modules["vae"], self._case["size"]
        shape = (1, components.latent_channels, size // components.downscale, size // components.downscale)
        scheduler: Any = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

        def loop() -> None:
            options = TextOptions(size, size)
            negative, text = (components.encode([each], options).tensors for each in ("", "a red circle"))
            given = {name: torch.cat([negative[name], text[name]]) for name in text}
            said = {"class_labels": given["vector"]} if "vector" in given else {}
            scheduler.set_timesteps(self._steps, device=self._device)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            x = noise.to(self._device, components.dtype) * scheduler.init_noise_sigma
            for t in scheduler.timesteps:
                twice = scheduler.scale_model_input(torch.cat([x] * 2), t)
                said_by = unet(twice, t, encoder_hidden_states=given["context"], return_dict=False, **said)[0]
                uncond, cond = said_by.chunk(2)
                x = scheduler.step(uncond + CFG_SCALE * (cond - uncond), t, x, return_dict=False)[0]
            pixels = vae.decode(x / vae.config.scaling_factor, return_dict=False)[0]
            image = ((pixels / 2 + 0.5).clamp(0, 1).float().nan_to_num() * 255).byte()[0].permute(1, 2, 0).cpu().numpy()
            Image.fromarray(image).save(BytesIO(), "PNG", compress_level=4)

        return loop


def _masked(side: int, scratch: Path) -> dict[str, Any]:
    """A picture, and a mask over its left half."""
    from PIL import Image

    from sdterm.core.inputs import Inputs

    def kept(picture: Any) -> str:
        data = BytesIO()
        picture.save(data, "PNG")
        return Inputs(scratch).put(data.getvalue())

    mask = Image.new("L", (side, side))
    mask.paste(255, (0, 0, side // 2, side))
    return {
        "init_images": [kept(Image.new("RGB", (side, side), "teal"))],
        "mask": kept(mask),
        "denoising_strength": 1.0,
    }


def bandwidth(device: str) -> float | None:
    """Bytes a second from pinned memory to the card."""
    import torch

    if torch.device(device).type != "cuda":
        return None
    data = torch.empty(2**29, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(data, device=device)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(4):
        there.copy_(data, non_blocking=True)
    torch.cuda.synchronize()
    return 4 * data.numel() / (time.perf_counter() - began)


def card(device: str) -> dict[str, Any]:
    import torch

    if torch.device(device).type != "cuda":
        return {"device": device}
    return {
        "device": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
        "memory": torch.cuda.get_device_properties(device).total_memory,
        "cuda": torch.version.cuda,
    }


def in_its_process(name: str, given: argparse.Namespace, cache: Path, seconds: float) -> dict[str, Any]:
    """A case, for so many seconds at most."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--case", name, "--device", given.device, "--cache", str(cache)]
    command += ["--steps", str(given.steps), *(["--tiny"] if given.tiny else [])]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=offline(), stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"skipped": "there was no time left"}
    if done.returncode:
        return {"skipped": f"it ended with {done.returncode}; what it said is above"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the demo model and small pictures; keeps no result")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--minutes", type=float, default=8.0, help="that all may take [8]")
    parser.add_argument("--only", metavar="CASES", help="comma-separated [all]")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the weights are kept [a temporary folder]")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ |= offline()
    if not given.tiny:
        import torch

        if not torch.cuda.is_available():
            parser.error("torch sees no CUDA device here; --device cpu --tiny tries everything else")

    end, found = time.monotonic() + given.minutes * 60, {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        if given.case:
            case = cases(given.tiny)[given.case]
            path = checkpoint_of(case["model"], cache)
            print(json.dumps(Case(case, path, given.device, given.steps, Path(temporary)).measured()))
            return
        for name in cases(given.tiny):
            if given.only is None or name in given.only.split(","):
                left = end - time.monotonic()
                found[name] = in_its_process(name, given, cache, left) if left > 0 else {"skipped": "no time left"}
                print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    facts = {**machine(), **card(given.device), "date": datetime.now(UTC).date().isoformat()}
    line = json.dumps({"benchmark": "gpu", "machine": facts, "bandwidth": bandwidth(given.device), "cases": found})
    print(line)
    if not given.tiny:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()

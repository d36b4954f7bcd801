"""What passes cost on top of the modules they run: `python -m benchmarks.passes` prints one line of JSON.

hires     a hires fix over the sum of its own calls: of the network, of the VAE, of the text encoder
img2img   an init image, and one with a mask, over the sum of its own calls
peers     both over diffusers' own pipelines, on the same network, VAE and texts, with as many calls
one_key   the same of a job that goes on from another's first pass; `first_pass_calls`: how many it makes of that again
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.engine import machine, summary
from sdterm import Engine, load_plugins
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.engine.run import FirstPass
from sdterm.events import Done
from sdterm.hooks import TextOptions
from sdterm.plugins.sd.components import SDComponents
from sdterm.request import make_request

STEPS, SIZE, RUNS = 12, 128, 5
METHODS = ("encode", "denoise", "decode", "encode_image")
FIRST = {"prompt": "sunset, lake, red house", "steps": STEPS, "seed": 1, "width": SIZE, "height": SIZE}
HIRES = {**FIRST, "hires": True, "hires_scale": 1.5, "denoising_strength": 0.6}


def as_input(engine: Engine, picture: Image.Image) -> str:
    """A picture as an input."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return Inputs(engine.library.root).put(buffer.getvalue())


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


def peers(engine: Engine, pictures: dict[str, Image.Image]) -> dict[str, Callable[[], Any]]:
    """diffusers' pipelines around the engine's own modules: a run each."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

    assert engine.model
    modules = engine.model.components.modules
    modules["unet"].register_to_config(sample_size=64)  # type: ignore[operator]  # diffusers' pipelines look at it
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    rest: dict[str, Any] = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor"))
    parts = {"vae": modules["vae"], "unet": modules["unet"], "scheduler": scheduler, **rest}
    texts = engine.model.components.encode(["sunset, lake, red house"], TextOptions(width=SIZE, height=SIZE))["context"]
    asked = {
        "prompt_embeds": texts,
        "negative_prompt_embeds": texts,
        "guidance_scale": 7.0,
        "num_inference_steps": STEPS,
        "strength": 10 / STEPS,  # as many calls as A1111's steps at 0.75
        "image": pictures["init"],
    }
    plain = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    masked = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    for pipeline in (plain, masked):
        pipeline.set_progress_bar_config(disable=True)
    return {
        "img2img": lambda: plain(**asked),
        "inpaint": lambda: masked(**asked, mask_image=pictures["mask"], height=SIZE, width=SIZE),
    }


def main() -> None:
    """Measure and print."""
    plugins = load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(library=Library(Path(folder), chosen=EMBEDDED_MODEL), device="cpu")

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

        def from_pictures(fields: dict[str, Any], peer: Callable[[], Any]) -> dict[str, Any]:
            over_calls, over_peer = [], []
            for number in range(RUNS):
                wall, seconds = run(f"from-{number}-{len(fields)}", **fields)
                began = time.perf_counter()
                with torch.inference_mode():
                    peer()
                over_calls.append(wall / sum(map(sum, seconds.values())))
                over_peer.append(wall / (time.perf_counter() - began))
            return {"over_its_calls": summary(over_calls), "over_diffusers": summary(over_peer)}

        pictures = {"init": Image.effect_noise((SIZE, SIZE), 90).convert("RGB"), "mask": Image.new("L", (SIZE, SIZE))}
        pictures["mask"].paste(255, (32, 32, 96, 96))
        digests = {name: as_input(engine, picture) for name, picture in pictures.items()}
        plain = {**FIRST, "sampler": "Euler", "init_images": (digests["init"],), "denoising_strength": 0.75}
        asked = {"img2img": plain, "inpaint": {**plain, "mask": digests["mask"]}}
        run("first", **FIRST)  # warms up, too
        for fields in asked.values():
            run(f"warm-{len(fields)}", **fields)
        theirs = peers(engine, pictures)
        for peer in theirs.values():
            peer()
        kept = FirstPass(Path(folder, "first"), 0)
        print(
            json.dumps(
                {
                    "from_pictures": {name: from_pictures(asked[name], theirs[name]) for name in asked},
                    "hires": {upscaler: over_its_calls(upscaler) for upscaler in ("Latent", "Lanczos")},
                    "one_key": {upscaler: over_its_calls(upscaler, kept) for upscaler in ("Latent", "Lanczos")},
                    "first_pass_calls": STEPS,
                    "machine": machine(),
                }
            )
        )


if __name__ == "__main__":
    main()

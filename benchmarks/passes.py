"""What passes cost on top of the modules they run: `python -m benchmarks.passes` prints one line of JSON. With the demo
model at 128 pixels, what a job costs once weighs most; `--model sd15` is what people draw with, of random weights.

hires     a hires fix over the sum of its own calls: of the network, of the VAE, of the text encoder
upscale   a picture made larger by ESRGAN's network, of random weights, in tiles: sdterm's loader, tiling and all, over
          the calls of spandrel's model for the same tiles where spandrel is installed, else of torch's own modules
img2img   an init image, and one with a mask, over the sum of its own calls
peers     both over diffusers' own pipelines, on the same network, VAE and texts, with as many calls
one_key   the same of a job that goes on from another's first pass; `first_pass_calls`: how many it makes of that again
input     to the first step of a picture that starts from one of 20 MB, sent over the host's socket: how much later than
          that of one that starts from noise; each is another picture
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.engine import SIZES, machine, summary
from sdterm import Engine, load_plugins
from sdterm.api import Entry, Submission
from sdterm.client import connect
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import CheckpointFile, Library
from sdterm.core.library.upscalers import find_upscaler
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.core.settings.settings import resolve
from sdterm.engine.run import FirstPass
from sdterm.engine.upscale import Upscaling, upscaled
from sdterm.events import Done, Failed, Step
from sdterm.hooks import TextOptions
from sdterm.plugins.sd.components import SDComponents
from sdterm.request import make_request
from tools import full_size

WORK = {"demo": (12, 5), "sd15": (4, 3)}
"""Steps of a picture, and how often it is drawn."""
BYTES = 20_000_000
TILE = 96
RUNS = 5
METHODS = ("encode", "denoise", "decode", "encode_image")


@dataclass(frozen=True)
class Work:
    """What is drawn, and how often."""

    checkpoint: Path
    size: int
    steps: int
    runs: int

    @property
    def first(self) -> dict[str, Any]:
        """The fields of a picture from noise."""
        prompt = "sunset, lake, red house"
        return {"prompt": prompt, "steps": self.steps, "seed": 1, "width": self.size, "height": self.size}

    @property
    def hires(self) -> dict[str, Any]:
        """Of one with a second pass."""
        return {**self.first, "hires": True, "hires_scale": 1.5, "denoising_strength": 0.6}


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


def picture(number: int) -> bytes:
    """A PNG of 20 MB, unlike all others."""
    side = int((BYTES / 3) ** 0.5) + 1
    file = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(number).randbytes(3 * side * side)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def init_image(work: Work, folder: Path) -> dict[str, Any]:
    """Milliseconds, on a warm demo model."""
    settings = resolve({}, {"SDTERM_DATA": str(folder), "SDTERM_DEVICE": "cpu"})
    pictures = iter([picture(number) for number in range(RUNS + 1)])

    with connect(settings) as host:

        def first_step(*pictures: bytes) -> float:
            after, began = host.health().last_event, time.perf_counter()
            request = make_request(**work.first, init_images=[host.put_input(each) for each in pictures])
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


def upscaling(folder: Path) -> dict[str, Any]:
    """ESRGAN in tiles, by turns with the bare model on the same tiles."""
    path = folder / "models" / "ESRGAN" / "random.safetensors"
    path.parent.mkdir(parents=True)
    save_file(esrgan_weights(features=32, growth=32, blocks=4), path)
    plugins, device = load_plugins(), torch.device("cpu")
    chosen = find_upscaler("random", plugins, Library(folder))
    image = np.random.default_rng(1).integers(0, 256, (TILE * 2 - 8, TILE * 2 - 8, 3), dtype=np.uint8)
    name, bare = bare_model(path)
    tiles: list[torch.Tensor] = []
    kept = Upscaling(plugins, device, tile=TILE, overlap=8)
    upscaled(kept, chosen, image, 4)  # warms up, and reads the file
    places = (0, TILE - 8)
    for y in places:
        for x in places:
            crop = np.array(Image.fromarray(image).crop((x, y, x + TILE, y + TILE)))
            tiles.append(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)
    ratios = []
    with torch.inference_mode():
        bare(tiles[0])
        for _ in range(RUNS):
            began = time.perf_counter()
            upscaled(kept, chosen, image, 4)
            ours = time.perf_counter() - began
            began = time.perf_counter()
            for tile in tiles:
                bare(tile)
            ratios.append(ours / (time.perf_counter() - began))
    return {"over": name, "over_its_tiles": summary(ratios), "tiles": len(tiles)}


def bare_model(path: Path) -> tuple[str, Any]:
    """What reads the file besides sdterm's own loader, as a function of a tile."""
    file = CheckpointFile(path)
    weights = file.read([*file.shapes()], torch.device("cpu"), torch.float32)
    if find_spec("spandrel"):
        from spandrel import MAIN_REGISTRY

        model = MAIN_REGISTRY.load(weights)
        return "spandrel", model.eval()
    return "torch's modules", reference(weights)


def reference(weights: dict[str, torch.Tensor]) -> Any:
    """RRDBNet of torch's modules."""
    from tests.plugins.upscalers.test_esrgan import Reference

    model = Reference(2, features=32, growth=32, blocks=4)
    model.load_state_dict(weights)
    return model.eval()


def esrgan_weights(features: int, growth: int, blocks: int) -> dict[str, torch.Tensor]:
    """Of an RRDBNet that makes pictures four times as large, small and random."""
    from tests.plugins.upscalers.test_esrgan import Reference

    torch.manual_seed(1)
    state = Reference(2, features=features, growth=growth, blocks=blocks).state_dict()
    return {key: tensor.contiguous() for key, tensor in state.items()}


def peers(work: Work, engine: Engine, pictures: dict[str, Image.Image]) -> dict[str, Callable[[], Any]]:
    """diffusers' pipelines around the engine's own modules: a run each."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

    assert engine.model
    modules = engine.model.components.modules
    modules["unet"].register_to_config(sample_size=64)  # type: ignore[operator]  # diffusers' pipelines look at it
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    rest: dict[str, Any] = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor"))
    parts = {"vae": modules["vae"], "unet": modules["unet"], "scheduler": scheduler, **rest}
    texts = engine.model.components.encode(["sunset, lake, red house"], TextOptions(width=work.size, height=work.size))[
        "context"
    ]
    asked = {
        "prompt_embeds": texts,
        "negative_prompt_embeds": texts,
        "guidance_scale": 7.0,
        "num_inference_steps": work.steps,
        "strength": (int(0.75 * work.steps) + 1) / work.steps,  # as many calls as A1111's steps at 0.75
        "image": pictures["init"],
    }
    plain: Any = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    masked: Any = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    for pipeline in (plain, masked):
        pipeline.set_progress_bar_config(disable=True)
    return {
        "img2img": lambda: plain(**asked),
        "inpaint": lambda: masked(**asked, mask_image=pictures["mask"], height=work.size, width=work.size),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="demo", help="sd15: SD 1.5's size, random weights [demo]")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="of a side [128; 256 with sd15]")
    name: str = (given := parser.parse_args()).model
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = EMBEDDED_MODEL if name == "demo" else full_size.write(name, folder)
        work = Work(checkpoint, given.size or SIZES[name], *WORK[name])
        found = drawn(work, folder)
        if name == "demo":
            found |= {"input": init_image(work, folder / "data"), "upscale": upscaling(folder)}
    print(json.dumps({"benchmark": "passes", "model": name, "size": work.size, **found, "machine": machine()}))


def drawn(work: Work, folder: Path) -> dict[str, Any]:
    """What passes cost, over their own calls and over diffusers' pipelines."""
    plugins = load_plugins()
    engine = Engine(library=Library(folder, chosen=work.checkpoint), device="cpu")

    def run(tape: str, first_pass: FirstPass | None = None, **fields: Any) -> tuple[float, dict[str, list[float]]]:
        with timed() as seconds:
            began = time.perf_counter()
            *_, last = engine.run(make_request(**fields), plugins, tape=Path(folder, tape), first_pass=first_pass)
            wall = time.perf_counter() - began
        assert isinstance(last, Done), last
        return wall, seconds

    def over_its_calls(upscaler: str, first_pass: FirstPass | None = None) -> dict[str, Any]:
        ratios, calls = [], 0
        for number in range(work.runs):
            tape = f"{upscaler}-{number}-{bool(first_pass)}"
            wall, seconds = run(tape, first_pass, **work.hires, hires_upscaler=upscaler)
            ratios.append(wall / sum(map(sum, seconds.values())))
            calls = len(seconds["denoise"])
        return {"over_its_calls": summary(ratios), "calls": calls}

    def from_pictures(fields: dict[str, Any], peer: Callable[[], Any]) -> dict[str, Any]:
        over_calls, over_peer = [], []
        for number in range(work.runs):
            wall, seconds = run(f"from-{number}-{len(fields)}", **fields)
            began = time.perf_counter()
            with torch.inference_mode():
                peer()
            over_calls.append(wall / sum(map(sum, seconds.values())))
            over_peer.append(wall / (time.perf_counter() - began))
        return {"over_its_calls": summary(over_calls), "over_diffusers": summary(over_peer)}

    size = work.size
    pictures = {"init": Image.effect_noise((size, size), 90).convert("RGB"), "mask": Image.new("L", (size, size))}
    pictures["mask"].paste(255, (size // 4, size // 4, 3 * size // 4, 3 * size // 4))
    digests = {name: as_input(engine, picture) for name, picture in pictures.items()}
    plain: dict[str, Any] = {
        **work.first,
        "sampler": "Euler",
        "init_images": (digests["init"],),
        "denoising_strength": 0.75,
    }
    asked = {"img2img": plain, "inpaint": {**plain, "mask": digests["mask"]}}
    run("first", **work.first)  # warms up, too
    for fields in asked.values():
        run(f"warm-{len(fields)}", **fields)
    theirs = peers(work, engine, pictures)
    for peer in theirs.values():
        peer()
    kept = FirstPass(0, (Path(folder, "first"),))
    return {
        "from_pictures": {name: from_pictures(asked[name], theirs[name]) for name in asked},
        "hires": {upscaler: over_its_calls(upscaler) for upscaler in ("Latent", "Lanczos")},
        "one_key": {upscaler: over_its_calls(upscaler, kept) for upscaler in ("Latent", "Lanczos")},
        "first_pass_calls": work.steps,
    }


if __name__ == "__main__":
    main()

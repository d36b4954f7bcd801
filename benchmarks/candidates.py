"""The processes that `benchmarks.engine` measures, one candidate each: `python -m benchmarks.candidates NAME ...`.

`sdterm` and `diffusers` stay alive and draw on demand: a line with a number comes in, a JSON line goes out. `bare` and
`bare-plain` are what a first picture cannot do without: imports, and 20 calls of the network.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

Draw = Callable[[int], bytes]

STEPS, CFG_SCALE = 20, 7.0


def prompt(number: int) -> str:
    """A new text each time, so that nobody's cache answers, and always of one length."""
    return f"a red circle on a blue square, photo {number % 10}{number // 10 % 10}"


def import_sdterm() -> None:
    import_bare()
    for module in ("sdterm.engine", "sdterm.plugins.sd.components", "PIL.PngImagePlugin"):
        importlib.import_module(module)


def load_sdterm(checkpoint: Path, size: int, scratch: Path) -> Draw:
    from sdterm import Engine, GenerationRequest, load_plugins
    from sdterm.core.library.checkpoints import Library
    from sdterm.events import Image

    plugins = load_plugins()
    engine = Engine(library=Library(scratch, chosen=checkpoint), device="cpu")

    def draw(number: int) -> bytes:
        request = GenerationRequest(
            prompt=prompt(number), steps=STEPS, cfg_scale=CFG_SCALE, seed=number, width=size, height=size
        )
        return next(event.data for event in list(engine.run(request, plugins)) if isinstance(event, Image))

    return draw


def import_diffusers() -> None:
    import_plain()
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline  # noqa: F401
    from PIL import PngImagePlugin  # noqa: F401


def load_diffusers(checkpoint: Path, size: int, scratch: Path) -> Draw:
    """The same sampler, schedule, guidance and file format by StableDiffusionPipeline."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
    from PIL import PngImagePlugin

    pipeline = StableDiffusionPipeline.from_single_file(
        str(checkpoint),
        config=str(diffusers_config(checkpoint, scratch)),
        local_files_only=True,
        torch_dtype=torch.float32,
        safety_checker=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)

    def draw(number: int) -> bytes:
        picture = pipeline(
            prompt(number),
            num_inference_steps=STEPS,
            guidance_scale=CFG_SCALE,
            width=size,
            height=size,
            generator=torch.Generator("cpu").manual_seed(number),
        ).images[0]
        info, buffer = PngImagePlugin.PngInfo(), BytesIO()
        info.add_text("parameters", prompt(number))
        picture.save(buffer, "PNG", pnginfo=info, compress_level=4)  # as sdterm's PNG saver
        return buffer.getvalue()

    return draw


def diffusers_config(checkpoint: Path, scratch: Path) -> Path:
    """The folder that tells from_single_file what is in the file, so that it asks no hub."""
    from sdterm.core.library.checkpoints import CheckpointFile
    from sdterm.plugins.sd import architecture, sd1
    from sdterm.plugins.sd.tokenizer import VOCABULARY

    reader, folder = CheckpointFile(checkpoint), scratch / "diffusers-config"
    files: dict[str, dict[str, Any]] = {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        "unet/config.json": {"_class_name": "UNet2DConditionModel", **architecture.unet_config(reader, sd1.USUAL)},
        "vae/config.json": {
            "_class_name": "AutoencoderKL",
            **architecture.vae_config(reader, sd1.USUAL, reader.shapes()),
        },
        "text_encoder/config.json": {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            **architecture.clip_config(reader, sd1.TEXT),
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DPMSolverMultistepScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "steps_offset": 1,
        },
        "tokenizer/tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "pad_token": "<|endoftext|>",
        },
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).write_bytes((VOCABULARY / name).read_bytes())
    return folder


def import_bare() -> None:
    """The three classes that draw, imported as sdterm does it: past diffusers' front doors."""
    from sdterm.plugins.sd import clip_text  # noqa: F401
    from sdterm.plugins.sd.diffusers_models import models

    models()


def import_plain() -> None:
    """The three classes that draw, imported as their documentation says."""
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel  # noqa: F401


def peak_memory() -> int:
    """Bytes; VmHWM, because getrusage's figure starts at what the parent process had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def serve(name: str, checkpoint: Path, size: int, scratch: Path) -> None:
    """Import and report memory; load, draw once and report; then draw on demand."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply

    def reply(**fields: Any) -> None:
        print(json.dumps(fields), file=replies, flush=True)

    IMPORTS[name]()
    baseline = peak_memory()
    began = time.perf_counter()
    draw = LOADERS[name](checkpoint, size, scratch)
    draw(0)
    reply(baseline=baseline, peak=peak_memory(), first=time.perf_counter() - began)
    for line in sys.stdin:
        began = time.perf_counter()
        draw(int(line))
        reply(seconds=time.perf_counter() - began, peak=peak_memory())


def bare_calls(name: str) -> None:
    """Imports and 20 network calls of the demo model at 128x128; on stdout, what the loading between them took."""
    IMPORTS[name]()
    import torch

    wall, cpu = time.perf_counter(), time.process_time()
    from sdterm.core.library.checkpoints import CheckpointFile
    from sdterm.core.settings.paths import EMBEDDED_MODEL
    from sdterm.plugins.sd import sd1

    components = sd1.build(CheckpointFile(EMBEDDED_MODEL), torch.device("cpu"), torch.float32)
    loading = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    unet: Any = components.modules["unet"]
    x, t = torch.randn(2, 4, 16, 16), torch.full((2,), 500.0)
    cond = torch.randn(2, 77, unet.config.cross_attention_dim)
    with torch.inference_mode():
        for _ in range(STEPS):
            unet(x, t, encoder_hidden_states=cond, return_dict=False)
    print(json.dumps(loading))


IMPORTS: dict[str, Callable[[], None]] = {
    "sdterm": import_sdterm,
    "diffusers": import_diffusers,
    "bare": import_bare,
    "bare-plain": import_plain,
}
LOADERS: dict[str, Callable[[Path, int, Path], Draw]] = {"sdterm": load_sdterm, "diffusers": load_diffusers}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    if name in LOADERS:
        serve(name, Path(arguments[0]), int(arguments[1]), Path(arguments[2]))
    else:
        bare_calls(name)

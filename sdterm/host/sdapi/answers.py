"""From a finished job to A1111's JSON: pure."""

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sdterm.api import JobDetails, Picture
from sdterm.core.infotext.grammar import parse
from sdterm.fields import ROWS
from sdterm.version import __version__

# Keys that A1111 writes by itself; those of its extra_generation_params are the others.
_MAIN = frozenset(
    {key for row in ROWS for key in row.infotext if not key.startswith(("Hires ", "Refiner"))}
    - {"Schedule type", "Denoising strength"}
    | {"Version", "User", "sdterm"}
)


def answer(
    parameters: Mapping[str, Any], job: JobDetails, pictures: Sequence[Picture], files: Sequence[bytes]
) -> dict[str, Any]:
    """The answer to txt2img. parameters: its body, as it is echoed; pictures: the job's, the grid first;
    files: theirs, or none where no images are sent."""
    return {
        "images": [base64.b64encode(file).decode() for file in files],
        "parameters": parameters,
        "info": json.dumps(info(parameters, job, pictures), ensure_ascii=False),
    }


def info(parameters: Mapping[str, Any], job: JobDetails, pictures: Sequence[Picture]) -> dict[str, Any]:
    """A1111's `info`, with all its keys."""
    request, plan = job.request, job.plan or {}
    images: Sequence[Mapping[str, Any]] = plan.get("images") or [{}]
    grids = [picture for picture in pictures if picture.kind == "grid"]
    first = images[0]
    said = parse(pictures[-1].infotext if pictures else "").parameters
    width, height = _size(said.get("Size", ""))
    return {
        "prompt": first.get("prompt", request.prompt),
        "all_prompts": [image.get("prompt") for image in images],
        "negative_prompt": first.get("negative_prompt", request.negative_prompt),
        "all_negative_prompts": [image.get("negative_prompt") for image in images],
        "seed": first.get("seed"),
        "all_seeds": [image.get("seed") for image in images],
        "subseed": first.get("variation_seed"),
        "all_subseeds": [image.get("variation_seed") for image in images],
        "subseed_strength": request.variation_strength,
        "width": width or request.width,
        "height": height or request.height,
        "sampler_name": said.get("Sampler", request.sampler),
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": plan.get("model"),
        "sd_model_hash": str(plan.get("model_hash", ""))[:10],
        "sd_vae_name": plan.get("vae") or None,
        "sd_vae_hash": str(plan.get("vae_hash") or "")[:10] or None,
        "seed_resize_from_w": request.seed_resize_width or -1,
        "seed_resize_from_h": request.seed_resize_height or -1,
        "denoising_strength": request.denoising_strength if request.hires or request.init_images else None,
        "extra_generation_params": {key: _number(value) for key, value in said.items() if key not in _MAIN},
        "index_of_first_image": len(grids),
        "infotexts": [picture.infotext for picture in pictures if picture.is_image or picture.kind == "grid"],
        "styles": [*(parameters.get("styles") or ())],
        "job_timestamp": f"{datetime.fromtimestamp(job.created):%Y%m%d%H%M%S}",
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": "Conditional mask weight" in said,
        "version": f"sdterm {__version__}",
    }


def _number(text: str) -> str | int | float:
    """A value as what it is."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            return number if text.strip("-").replace(".", "", 1).isdecimal() else text
    return text


def _size(text: str) -> tuple[int | None, int | None]:
    width, _, height = text.partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else (None, None)

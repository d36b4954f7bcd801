"""What the rows of a tape depend on: its header."""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdterm.core.planning.ladder import Optimizer
from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.device import device_name
from sdterm.engine.network_files import wanted
from sdterm.engine.run import Run
from sdterm.engine.tape import Recorded, read_header, recorded
from sdterm.fields import deciding
from sdterm.hooks import MemoryOptimizer, Pipeline
from sdterm.request import GenerationRequest
from sdterm.version import __version__

# Fields that rows do not depend on, or of which the header tells what matters: options of prompt transforms are seen in
# the prompts.
_NOT_RECORDED = deciding("finish", "how")
_PIPELINES_ARE_OF = ("diffusers", "transformers")


def header(run: Run) -> dict[str, Any]:
    """What all recorded rows depend on, under the words a user is told when one of them changed."""
    plan, plugins, visible = run.plan, run.plugins, _visible(run)
    owners = {plugins.owner(each.of) for each in visible} | {plugins.owner(each.of) for each in run.choices.hooks}
    owners |= {plugins.owner(network.format) for network in run.networks.values() if network.format}
    pipelines = any(isinstance(each.model.family, Pipeline) for each in run.choices.passes)
    return {
        "request": _recorded(plan.request),
        "prompt or seed": [image.model_dump(mode="json", exclude={"networks", "words"}) for image in plan.images],
        "plugin version": [entry for entry in plugins.identity if entry[0] in owners],
        "precision": str(run.dtype),
        "device": device_name(run.device),
        "thread count": torch.get_num_threads(),
        "memory optimizers": [[each.of.id, dict(each.options)] for each in visible],
        "denoise hooks": [[each.of.id, dict(each.options)] for each in run.choices.hooks],
        "version of torch": torch.__version__,
        **({f"version of {name}": version(name) for name in _PIPELINES_ARE_OF} if pipelines else {}),
        "version of sdterm": __version__,
    }


def pass_headers(run: Run) -> list[dict[str, Any]]:
    """What the rows of each pass depend on besides, and so those of the passes after it."""
    plan, plugins = run.plan, run.plugins
    headers = []
    for number, (planned, found) in enumerate(zip(plan.passes, run.choices.passes, strict=True)):
        owners = {plugins.owner(part) for part in (found.sampler, found.scheduler, found.model.family)}
        called = [wanted(plan, number, index) for index in range(len(plan.images))]
        headers.append(
            {
                "sampler or schedule": planned.model_dump(mode="json", exclude={"model", "texts"}),
                "checkpoint": [
                    plan.model_of(number).model_hash,
                    *sorted(plan.model_of(number).parts.items()),
                    json.dumps(found.model.checkpoint.config, default=str),
                ],
                "prompt": [text.model_dump(mode="json", exclude={"networks", "words"}) for text in planned.texts],
                "network": [[network.model_dump(mode="json") for network in networks] for networks in called],
                "plugin version": [entry for entry in plugins.identity if entry[0] in owners],
                **({} if planned.start == "noise" else _way_in(run, number)),
            }
        )
    return headers


def _way_in(run: Run, pass_no: int) -> dict[str, Any]:
    """By what the picture that a pass begins with is made larger and encoded, beside what its plan says."""
    request = run.plan.request
    return {
        "VAE": [run.plan.model_of(pass_no).vae_hash, request.vae_decoder],
        "upscaler tile": [request.upscale_tile, request.upscale_overlap],
    }


_RESOLVED = frozenset(
    {"prompt", "negative_prompt", "seed", "variation_seed", "width", "height", "model", "steps", "sampler", "scheduler"}
    | {"sampler_options", "scheduler_options", "extra_params"}
)
"""What a request says of a pass in other words than its plan."""
_SETTLED = deciding("what") - _RESOLVED
_BY_IMAGE = ("prompt or seed", "network")


def first_pass_of(run: Run, tape: Path, image: int) -> Recorded | None:
    """What another job's tape has of the first pass of its image, if this run's only image begins with that very
    pass."""
    found = recorded(tape, image, 0)
    if not found or len(run.plan.images) != 1:
        return None
    mine = json.loads(json.dumps([header(run), pass_headers(run)[0]]))
    theirs = [found.header, next(iter(found.passes), {})]
    same = all(_of_image(a, 0) == _of_image(b, image) for a, b in zip(mine, theirs, strict=True))
    return found if same else None


def _of_image(entries: Mapping[str, Any], image: int) -> dict[str, Any]:
    """A header's entries as they concern one image."""
    own = dict(entries)
    if "request" in own:
        own["request"] = {name: value for name, value in own["request"].items() if name in _SETTLED}
    for name in own.keys() & set(_BY_IMAGE):
        own[name] = own[name][image : image + 1]
    return own


def _visible(run: Run) -> list[Optimizer]:
    memory = run.choices.asked(MemoryOptimizer)
    return [each for each in memory if each.of.effect == "visible" and not each.of.decodes_only]


def _recorded(request: GenerationRequest) -> dict[str, Any]:
    """A request as a tape remembers it: however its images are split into batches."""
    images = request.batch_size * request.batch_count
    return {**request.model_dump(mode="json", exclude=set(_NOT_RECORDED)), "images": images}


def recorded_seeds(tape: Path | None, request: GenerationRequest) -> dict[str, Callable[[], int]]:
    """What an earlier run of this request drew, as `prepare` takes it: resuming a random seed draws the same image."""
    header: Mapping[str, Any] | None = read_header(tape) if tape else None
    if not header or header.get("request") != _recorded(request):
        return {}
    images = header.get("prompt or seed")
    if not images:
        return {}
    first = ImagePlan.model_validate(images[0])
    return {"draw_seed": lambda: first.seed, "draw_variation": lambda: first.variation_seed}

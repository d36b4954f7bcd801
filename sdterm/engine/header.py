"""What the rows of a tape depend on: its header."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sdterm.core.planning.plan import ImagePlan
from sdterm.engine.device import device_name
from sdterm.engine.network_files import wanted
from sdterm.engine.run import Run
from sdterm.engine.tape import read_header
from sdterm.fields import deciding
from sdterm.hooks import MemoryOptimizer
from sdterm.request import GenerationRequest
from sdterm.version import __version__

# Fields that rows do not depend on, or of which the header tells what matters: options of prompt transforms are seen in
# the prompts.
_NOT_RECORDED = deciding("finish", "how")


def header(run: Run) -> dict[str, Any]:
    """What recorded rows depend on, under the words a user is told when one of them changed."""
    plan, choices, plugins = run.plan, run.choices, run.plugins
    memory = choices.asked(MemoryOptimizer)
    visible = [each for each in memory if each.of.effect == "visible" and not each.of.decodes_only]
    owners = {plugins.owner(part) for part in (choices.sampler, choices.scheduler, choices.family)}
    owners |= {plugins.owner(each.of) for each in visible} | {plugins.owner(each.of) for each in choices.hooks}
    owners |= {plugins.owner(network.format) for network in run.networks.values()}
    return {
        "request": _recorded(plan.request),
        "prompt or seed": [image.model_dump(mode="json", exclude={"networks", "words"}) for image in plan.images],
        "network": [[network.model_dump(mode="json") for network in wanted(plan, image)] for image in plan.images],
        "checkpoint": [plan.model_hash, json.dumps(choices.checkpoint.config, default=str)],
        "plugin version": [entry for entry in plugins.identity if entry[0] in owners],
        "schedule": [sigmas.tolist() for sigmas in run.sigmas],
        "precision": str(run.dtype),
        "device": device_name(run.device),
        "thread count": torch.get_num_threads(),
        "memory optimizers": [[each.of.id, dict(each.options)] for each in visible],
        "denoise hooks": [[each.of.id, dict(each.options)] for each in choices.hooks],
        "version of torch": torch.__version__,
        "version of sdterm": __version__,
    }


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

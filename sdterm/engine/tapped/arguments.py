"""The arguments of a pipeline's call, the pictures it draws from, and its scheduler, as a request asks for them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from sdterm.core.pictures.resizing import flattened
from sdterm.core.planning.pipelines import edits
from sdterm.engine.run import Run
from sdterm.engine.sources import Sources
from sdterm.fields import FIELDS
from sdterm.hooks import OptionValue, PluginError, Task
from sdterm.messages import message
from sdterm.modelling.pipelines.calls import TRUE, Arguments, arguments_of, given, guidance
from sdterm.modelling.pipelines.schedulers import SHIFT, changed, class_called


def task_of(run: Run) -> Task:
    """What a run draws from."""
    request, facts = run.request, run.choices.first.model.facts
    if not request.init_images:
        return "txt2img"
    return "edit" if edits(request, facts) else "inpaint" if request.mask else "img2img"


def pictures_of(run: Run, index: int, sources: Sources) -> Sequence[Image.Image]:
    """What an image begins with, and behind it the mask, or all that is looked at. Raises InputError, and what an
    upscaler raises."""
    if task_of(run) == "edit":
        inits = [sources.inputs.read(digest) for digest in run.request.init_images]
        return [flattened(each, run.request.background_color) for each in inits]
    image = run.plan.images[index]
    if not image.init_image:
        return ()
    source = sources.of(run, image)
    return (source.picture, source.mask) if source.mask else (source.picture,)


def arguments(
    run: Run, pipe: Any, index: int, pass_no: int, generator: torch.Generator, pictures: Sequence[Image.Image] = ()
) -> dict[str, Any]:
    """What the call of a pipeline is given for an image. What the request does not set is left to the pipeline's own
    defaults. pictures: see `pictures_of`."""
    planned, text, request = run.plan.passes[pass_no], run.plan.text_of(index, pass_no), run.request
    takes = arguments_of(type(pipe).__call__)
    facts, task = run.choices.first.model.facts, task_of(run)
    own = facts.takes if facts else {}
    is_left = own.get("cfg_scale") is None and request.cfg_scale == FIELDS["cfg_scale"].default
    fields: dict[str, Any] = {
        "prompt": text.text,
        "negative_prompt": text.negative_prompt,
        "steps": planned.steps,
        "width": planned.width,
        "height": planned.height,
        "cfg_scale": None if is_left or "cfg_scale" not in own else request.cfg_scale,
        "clip_skip": request.clip_skip - 1 or None,  # A1111 counts from the last layer, diffusers those left out
    }
    if task in ("img2img", "inpaint") and pictures:
        fields |= {"init_images": pictures[0], "denoising_strength": planned.denoising_strength}
    if task == "inpaint" and len(pictures) > 1:
        fields["mask"] = pictures[1]
    if task == "edit":
        fields["init_images"] = [*pictures] if _takes_several(takes) else pictures[0]
    options = run.choices.passes[pass_no].model.pipeline_options
    engines = {name: value for name, value in (("generator", generator), ("output_type", "pil")) if name in takes}
    return given(takes, guided_by(pipe, takes), fields, _of_call(options, takes)) | engines


def ignored_negative_prompt(given: Mapping[str, Any], negative_prompt: str, pipe: Any) -> str:
    """That a negative prompt does nothing, and why; empty where it acts or there is none."""
    if not negative_prompt:
        return ""
    takes = arguments_of(type(pipe).__call__)
    if "negative_prompt" not in takes:
        return message("This model has no negative prompt, so the negative prompt of the styles is ignored.")
    true = given.get(TRUE, takes[TRUE].default if TRUE in takes else None)
    if isinstance(true, int | float) and true <= 1:
        return message(
            "The negative prompt has no effect because {option} is {value:g}: it needs a value above 1.",
            option=TRUE,
            value=true,
        )
    return ""


def guided_by(pipe: Any, takes: Arguments) -> str | None:
    """The argument that says how strictly to follow the prompt."""
    configs = (getattr(part, "config", None) for part in pipe.components.values())
    learned = (
        config["guidance_embeds"] for config in configs if isinstance(config, Mapping) and "guidance_embeds" in config
    )
    return guidance(takes, learned=next(learned, None))


def _takes_several(takes: Arguments) -> bool:
    return "list" in takes["image"].annotation.lower() if "image" in takes else False


def _of_call(options: Mapping[str, OptionValue], takes: Arguments) -> dict[str, OptionValue]:
    """Those of the call; the others are the scheduler's."""
    return {name: value for name, value in options.items() if name != SHIFT or name in takes}


@contextmanager
def stepping(run: Run, pipe: Any, pass_no: int) -> Iterator[None]:
    """Have a pipeline stepped with what a pass of the plan wants, and with its own scheduler afterwards. Raises
    PluginError."""
    own = getattr(pipe, "scheduler", None)
    chosen = _scheduler(run, own, pass_no)
    if chosen is own:
        yield
        return
    pipe.scheduler = chosen
    try:
        yield
    finally:
        pipe.scheduler = own


def _scheduler(run: Run, own: Any, pass_no: int) -> Any:
    planned, chosen = run.plan.passes[pass_no], run.choices.passes[pass_no].model
    if own is None or not chosen.facts or not chosen.facts.samplers:
        return own
    name = class_called(planned.sampler)
    options = {name: value for name, value in chosen.pipeline_options.items() if name == SHIFT}
    config = {**own.config, "_class_name": type(own).__name__}
    is_plain = name == type(own).__name__ and planned.scheduler == "Automatic" and not options
    if is_plain:
        return own
    import diffusers

    try:
        kind = getattr(diffusers, name)
        return kind.from_config(own.config, **changed(config, name, planned.scheduler, options))
    except (AttributeError, ImportError, ValueError, TypeError) as error:
        raise PluginError(
            message(
                "The sampler {sampler} cannot be used: {problem}",
                sampler=planned.sampler,
                problem=" ".join(str(error).split()),
            )
        ) from error

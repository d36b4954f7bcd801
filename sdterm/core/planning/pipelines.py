"""What a request wants of a pipeline: checked, and completed by its own values, before anything is loaded."""

from collections.abc import Mapping
from typing import NoReturn

from sdterm.core.extensions.registry import check_options
from sdterm.core.library.pipeline_facts import PipelineFacts
from sdterm.core.names import find, normal
from sdterm.fields import FIELDS, ROWS, RequestField
from sdterm.hooks import OptionValue, Sampler
from sdterm.messages import message
from sdterm.request import GenerationRequest, RequestError

AUTOMATIC = "Automatic"
COMPLETED = ("pipeline", "pipeline_options", "sampler", "scheduler", "steps", "cfg_scale")
"""The fields that `completed` fills in: a job that goes on has them from its plan."""
GUIDANCE = ("guidance_scale", "true_cfg_scale")
"""What calls name what a request has as `cfg_scale`."""


def _no_sampler(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("A pipeline has a loop of its own.")


PIPELINES_OWN = Sampler("pipeline", "Pipeline", _no_sampler, grid="own", batch_coupled=True, models=("vp", "flow"))
"""What stands for the sampler of a pass that a pipeline draws: its own loop, an image at a time."""


def check(request: GenerationRequest, facts: PipelineFacts, model: str) -> None:
    """Refuse what the pipeline does not take. model: its checkpoint's name. Raises RequestError, UnknownNameError."""
    _check_task(request, facts, model)
    for row in ROWS:
        if is_lost(request, row, facts) and not row.section:
            raise RequestError(
                message(
                    "{model} does not use {field} ({label}): remove it.", model=model, field=row.name, label=row.label
                ),
                row.name,
            )
    pipeline_options(request, facts, model)
    sampler_of(request, facts, model)


def lost_settings(request: GenerationRequest, facts: PipelineFacts) -> list[str]:
    """The labels of what is set, as settings are for all models, and means nothing to this one."""
    return [row.label for row in ROWS if row.section and is_lost(request, row, facts)]


def is_lost(request: GenerationRequest, row: RequestField, facts: PipelineFacts) -> bool:
    """Whether a field is set that such a model does not take."""
    return not takes(row, facts) and getattr(request, row.name) != row.default


def takes(row: RequestField, facts: PipelineFacts) -> bool:
    """Whether a field means something to the pipeline."""
    tasks = {*facts.tasks}
    if row.name == "prompt":
        return True
    if row.name == "denoising_strength":
        return bool(tasks & {"img2img", "inpaint"})
    if row.part in ("Init image", "Mask"):
        return bool(row.argument) and bool(tasks & _PICTURED[row.part])
    if row.argument != "*" and (row.argument or row.name == "cfg_scale"):
        return row.name in facts.takes
    return row.argument == "*" or row.decides in ("prompt", "how") or _is_of_pixels(row)


_PICTURED = {"Init image": {"img2img", "inpaint", "edit"}, "Mask": {"inpaint"}}
"""A part of the form → the tasks of which one must be the pipeline's."""


def _is_of_pixels(row: RequestField) -> bool:
    """Whether a field is of finished pictures, whatever drew them."""
    return row.decides == "finish" and not row.name.startswith("vae_")


def edits(request: GenerationRequest, facts: PipelineFacts | None) -> bool:
    """Whether the pipeline looks at the request's pictures, all of them for each image, rather than begins with one."""
    begins = {"inpaint"} if request.mask else {"img2img"}
    return bool(request.init_images and facts and "edit" in facts.tasks and not begins & {*facts.tasks})


def completed(request: GenerationRequest, facts: PipelineFacts, model: str) -> GenerationRequest:
    """The request with the pipeline that draws it, that one's own values for what it does not say, and the sampler that
    it means. Raises RequestError, UnknownNameError."""
    own = {name: value for name, value in facts.takes.items() if value is not None and name in ("steps", "cfg_scale")}
    missing = {name: value for name, value in own.items() if name not in request.model_fields_set}
    sampler, schedule = sampler_of(request, facts, model)
    options = dict(pipeline_options(request, facts, model))
    own_loop = {"pipeline": facts.id, "pipeline_options": options, "sampler": sampler, "scheduler": schedule}
    return request.model_copy(update={**missing, **own_loop})


def sampler_of(request: GenerationRequest, facts: PipelineFacts, model: str) -> tuple[str, str]:
    """The sampler and the schedule that a request wants; its defaults are the pipeline's own. Raises RequestError,
    UnknownNameError."""
    own = next(iter(facts.samplers), PIPELINES_OWN.label)
    asked, schedule = request.sampler, request.scheduler
    is_own = normal(asked) in {normal(FIELDS["sampler"].default), normal(PIPELINES_OWN.label), normal(own)}
    names = {name: name for name in facts.samplers} | {f"{name}Scheduler": name for name in facts.samplers}
    more = message("{model} has its own samplers: `sdterm samplers --model {model}` lists them.", model=model)
    sampler = own if is_own else find("sampler", asked, names, more=more, field="sampler")
    spaced = {AUTOMATIC: AUTOMATIC, **{name: name for name in facts.samplers.get(sampler, ())}}
    more = message("These are the schedule types of {sampler}.", sampler=sampler)
    return sampler, find("scheduler", schedule, spaced, more=more, field="scheduler")


def pipeline_options(request: GenerationRequest, facts: PipelineFacts, model: str) -> Mapping[str, OptionValue]:
    """Those that the request sets, checked. Others are left to the pipeline's own defaults. Raises RequestError."""
    given = request.pipeline_options
    for name in GUIDANCE:
        if name in given and "cfg_scale" in facts.takes and name not in {option.name for option in facts.options}:
            raise RequestError(
                message("{name} is the same as cfg_scale in a request: set cfg_scale instead.", name=name),
                "pipeline_options",
            )
    try:
        checked = check_options(model, facts.options, given)
    except RequestError as error:
        error.field = "pipeline_options"
        raise
    return {name: value for name, value in checked.items() if name in given}


def _check_task(request: GenerationRequest, facts: PipelineFacts, model: str) -> None:
    tasks = {*facts.tasks}
    if request.hires:
        raise RequestError(
            message("{model} has no hires fix: turn hires fix off, or upscale the finished image.", model=model),
            "hires",
        )
    if request.refiner:
        raise RequestError(
            message("{model} uses a pipeline, which has no refiner: remove the refiner.", model=model), "refiner"
        )
    if request.mask and request.init_images and "inpaint" not in tasks:
        raise RequestError(message("{model} has no inpainting: remove the mask.", model=model), "mask")
    if request.init_images and not tasks & {"img2img", "inpaint", "edit"}:
        raise RequestError(
            message("{model} generates from a prompt only: remove the init image.", model=model), "init_images"
        )
    if request.mask and request.masked_content.startswith("latent"):
        said = message(
            "{model} has no latent noise for masked content: set masked_content to original or fill.", model=model
        )
        raise RequestError(said, "masked_content")
    if not request.init_images and "txt2img" not in tasks:
        raise RequestError(
            message("{model} needs an image to start from: add an init image.", model=model), "init_images"
        )

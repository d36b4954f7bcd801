"""What a request wants of a pipeline: its task and options, checked before anything is loaded."""

from collections.abc import Mapping
from typing import NoReturn

from sdterm.core.extensions.registry import PluginSet, check_options
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError
from sdterm.hooks import OptionValue, Pipeline, Sampler
from sdterm.request import GenerationRequest, RequestError


def _no_sampler(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("A pipeline has a loop of its own.")


PIPELINES_OWN = Sampler("pipeline", "Pipeline", _no_sampler, grid="own", batch_coupled=True, models=("vp", "flow"))
"""What stands for the sampler of a pass that a pipeline draws: its own loop, an image at a time."""


def check_task(pipeline: Pipeline, checkpoint: CheckpointFile, request: GenerationRequest, plugins: PluginSet) -> None:
    """Raises RequestError where the pipeline does not draw from what the request has."""
    with plugins.guard(pipeline, ModelFileError):
        tasks = pipeline.tasks(checkpoint) if pipeline.tasks else frozenset(("txt2img",))
    name = f"The pipeline of {checkpoint.name}"
    if request.hires:
        raise RequestError(f"{name} has no hires fix: leave it out, or upscale the finished picture.", "hires")
    if request.mask and request.init_images and "inpaint" not in tasks:
        raise RequestError(f"{name} does not take a mask.", "mask")
    if request.init_images and not tasks & {"img2img", "inpaint", "edit"}:
        raise RequestError(f"{name} does not begin with a picture: it draws from a prompt alone.", "init_images")
    if not request.init_images and "txt2img" not in tasks:
        raise RequestError(f"{name} needs a picture to begin with.", "init_images")


def pipeline_options(
    pipeline: Pipeline, checkpoint: CheckpointFile, request: GenerationRequest, plugins: PluginSet
) -> Mapping[str, OptionValue]:
    """Those that the request sets, checked by what the pipeline declares for this checkpoint. Others are left to the
    pipeline's own defaults. Raises RequestError."""
    given = request.pipeline_options
    if not given:
        return {}
    with plugins.guard(pipeline, ModelFileError):
        declared = pipeline.options_of(checkpoint) if pipeline.options_of else ()
    try:
        checked = check_options(f"{checkpoint.name}'s pipeline", declared, given)
    except RequestError as error:
        error.field = "pipeline_options"
        raise
    return {name: value for name, value in checked.items() if name in given}

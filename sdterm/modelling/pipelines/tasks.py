"""The pipeline of the same modules that draws from something else."""

from __future__ import annotations

import inspect
from typing import Any

from sdterm.hooks import PluginError, Task

_AUTO = {
    "txt2img": "AutoPipelineForText2Image",
    "img2img": "AutoPipelineForImage2Image",
    "inpaint": "AutoPipelineForInpainting",
}


def for_task(pipe: Any, task: Task) -> Any:
    """The pipeline itself where its call is for that task, else the one that diffusers maps it to, with its modules and
    its scheduler. Raises PluginError where there is none."""
    if task == "edit" or _does(pipe, task):
        return pipe
    import diffusers

    try:
        return getattr(diffusers, _AUTO[task]).from_pipe(pipe)
    except (ValueError, AttributeError) as error:
        said = f"diffusers has no pipeline that draws {task} with the modules of {type(pipe).__name__}."
        raise PluginError(said) from error


def _does(pipe: Any, task: Task) -> bool:
    takes = inspect.signature(type(pipe).__call__).parameters
    if task == "txt2img":
        return "image" not in takes or "strength" not in takes
    return "strength" in takes and ("mask_image" in takes) == (task == "inpaint")

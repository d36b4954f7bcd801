"""The pipeline of the same modules that draws from something else."""

import inspect
from typing import Any

from sdterm.hooks import PluginError, Task
from sdterm.messages import message
from sdterm.modelling.pipelines.classes import tasks_of


def for_task(pipe: Any, task: Task) -> Any:
    """The pipeline itself where its own class is for that, else one of the class that diffusers has for it. Raises
    PluginError where there is none."""
    own = type(pipe).__name__
    name = tasks_of(own).get(task, own if task == "txt2img" else "")
    if name == own:
        return pipe
    import diffusers  # a part of it, which only this needs

    kind = getattr(diffusers, name, None) if name else None
    if kind is None:
        raise PluginError(
            message("diffusers has no pipeline for {task} with the components of {pipeline}.", task=task, pipeline=own)
        )
    return _of_same_parts(kind, pipe)


def _of_same_parts(kind: Any, pipe: Any) -> Any:
    """Its own `from_pipe` would turn them all to float32."""
    wanted = inspect.signature(kind.__init__).parameters
    parts = {name: part for name, part in pipe.components.items() if name in wanted}
    said = {name: value for name, value in pipe.config.items() if name in wanted and name not in parts}
    return kind(**parts, **said)

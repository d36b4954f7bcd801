"""What may be asked of a model that a pipeline draws with, as data: for checks, lists and forms."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError
from sdterm.hooks import Option, OptionValue, Pipeline, Task

_TAKES: Mapping[str, None] = MappingProxyType(dict.fromkeys(("negative_prompt", "steps", "width", "height")))


class PipelineFacts(BaseModel):
    """What is known of a pipeline with one checkpoint."""

    model_config = ConfigDict(frozen=True)

    id: str
    tasks: tuple[Task, ...] = ("txt2img",)
    """What it draws from."""
    takes: dict[str, OptionValue | None] = {}
    """The request's fields that its call knows, each with the pipeline's own value."""
    options: tuple[Option, ...] = ()
    """What its call takes besides: `pipeline_options`."""
    samplers: dict[str, tuple[str, ...]] = {}
    """What it can be stepped with, its own first, each with the schedules that it knows."""


def pipeline_facts(pipeline: Pipeline, checkpoint: CheckpointFile, plugins: PluginSet) -> PipelineFacts:
    """Ask a pipeline about a checkpoint that it draws with. Raises PluginError, ModelFileError."""
    with plugins.guard(pipeline, ModelFileError):
        said: dict[str, Any] = {
            "tasks": sorted(pipeline.tasks(checkpoint)) if pipeline.tasks else ("txt2img",),
            "takes": dict(pipeline.takes(checkpoint) if pipeline.takes else _TAKES),
            "options": pipeline.options_of(checkpoint) if pipeline.options_of else (),
            "samplers": dict(pipeline.samplers(checkpoint)) if pipeline.samplers else {},
        }
        return PipelineFacts(id=pipeline.id, **said)

"""A family of tomorrow: a pipeline that is in no release of diffusers, and the plugin that brings it.

It is a plugin as a stranger would write it, so it imports nothing of the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import ModelMatch, Option, Pipeline, WeightsReader, hookimpl

if TYPE_CHECKING:
    import torch


def detect(reader: WeightsReader) -> ModelMatch | None:
    is_ours = reader.metadata.get("_class_name") == "TomorrowPipeline"
    return ModelMatch(native_size=64, process="flow") if is_ours else None


def load(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Any:
    from .pipeline import saved_in

    return saved_in(reader.path, dtype)


def options_of(reader: WeightsReader) -> tuple[Option, ...]:
    return (Option("warmth", 0.0, "How warm its colours are", -1.0, 1.0),)


@hookimpl
def sdterm_pipelines() -> list[Pipeline]:
    return [Pipeline("tomorrow", "Tomorrow", detect, load, options_of)]

"""A pipeline: it walks from noise to the one colour of its checkpoint, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import ModelMatch, Option, Pipeline, PluginError, WeightsReader, hookimpl

if TYPE_CHECKING:
    import torch

KEY = "my_extension.colour"  # float32 [3], RGB from -1 to 1


def detect(reader: WeightsReader) -> ModelMatch | None:
    """Whether it is ours, from the keys and shapes alone."""
    return ModelMatch(native_size=64, process="flow") if KEY in reader.shapes() else None


def load(reader: WeightsReader, device: torch.device, dtype: torch.dtype) -> Any:
    """The pipeline object: of diffusers, or of that shape."""
    from .one_colour import build

    colour = reader.read([KEY], device, dtype)[KEY]
    if colour.shape != (3,):
        raise PluginError(f"{reader.path.name} has a colour that is not three numbers.")
    return build(colour)


def options_of(reader: WeightsReader) -> tuple[Option, ...]:
    """Arguments of its call that no request has by another name."""
    return (Option("brightness", 0.0, "Added to every pixel.", -1, 1),)


@hookimpl
def sdterm_pipelines() -> list[Pipeline]:
    return [Pipeline(id="my_extension", label="My extension", detect=detect, load=load, options_of=options_of)]

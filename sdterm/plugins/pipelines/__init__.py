"""Everything that diffusers has a pipeline for: folders as diffusers saves them, and transformers in single files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdterm.hooks import (
    CheckpointReader,
    ModelMatch,
    Option,
    OptionValue,
    Pipeline,
    PluginError,
    Task,
    TokenCount,
    hookimpl,
)
from sdterm.messages import message
from sdterm.modelling.pipelines import calls, schedulers
from sdterm.modelling.pipelines.classes import PipelineClass, tasks_of
from sdterm.plugins.pipelines import sizes, tokens
from sdterm.plugins.pipelines.assembly import Assembly, assemble
from sdterm.plugins.pipelines.index import index_of, missing_package

if TYPE_CHECKING:
    import torch

_IMAGES = {"images", "image"}
_GIVEN = {"frames": "videos", "video": "videos", "audios": "sound", "texts": "text"}
"""What a pipeline's call may give in place of pictures."""


def detect(reader: CheckpointReader) -> ModelMatch | None:
    """Raises PluginError for what is known and cannot be drawn with."""
    name, folder = reader.path.name, index_of(reader)
    if folder and (refusal := _unfit(folder.kind)):  # before anybody fetches what it lacks
        return ModelMatch(
            refusal=message("{model} is a {kind}, {problem}", model=name, kind=folder.kind.name, problem=refusal)
        )
    whole = assemble(reader)
    if whole is None:
        return None
    index, configs = whole.index, whole.configs
    for part, config in configs.items():
        if missing := missing_package(config):
            method, package = missing
            raise PluginError(
                message(
                    "The {part} of {model} is quantized with {method}, which needs a package: `pip install {package}`.",
                    part=part,
                    model=name,
                    method=method,
                    package=package,
                )
            )
    scale = sizes.downscale(configs)
    denoiser = index.denoiser
    return ModelMatch(
        native_size=sizes.native_size(configs.get(denoiser, {}), scale),
        downscale=scale,
        size_step=sizes.size_step(denoiser, scale),
        process="flow" if _is_flow(whole) else "vp",
        numbers=whole.numbers,
        label=label_of(index.kind),
        files=whole.files_beside(reader.path),
    )


def label_of(kind: PipelineClass) -> str:
    """What models of such a pipeline are called: its class, as diffusers spells it."""
    return kind.name.removesuffix("Pipeline").replace("StableDiffusion", "SD")


def _unfit(kind: PipelineClass) -> str:
    """Why sdterm does not draw with a pipeline, as the end of a sentence; empty if it does."""
    for given, what in _GIVEN.items():
        if given in kind.gives:
            return message("which makes {what}; sdterm generates images.", what=what)
    if kind.connected:
        return message("which consists of two pipelines in two folders; sdterm supports only one.")
    if not kind.gives & _IMAGES or not {"num_inference_steps", "generator"} <= {*kind.takes}:
        return message("which is only one step of several and makes no image by itself.")
    return ""


def _is_flow(whole: Assembly) -> bool:
    config = whole.configs.get("scheduler", {})
    kind = whole.index.parts.get("scheduler", ("", ""))[1]
    return kind.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction"


def load(reader: CheckpointReader, device: torch.device, dtype: torch.dtype) -> Any:
    from sdterm.plugins.pipelines import loading

    return loading.load(_known(reader), reader, device, dtype)


def options_of(reader: CheckpointReader) -> tuple[Option, ...]:
    whole = _known(reader)
    return (*calls.options(whole.index.kind.takes, _guided_by(whole)), *schedulers.options(_scheduler(whole)))


def takes(reader: CheckpointReader) -> Mapping[str, OptionValue | None]:
    whole = _known(reader)
    return calls.taken(whole.index.kind.takes, _guided_by(whole))


def samplers(reader: CheckpointReader) -> Mapping[str, tuple[str, ...]]:
    return schedulers.accepted(_scheduler(_known(reader)))


def count(reader: CheckpointReader, text: str) -> Sequence[TokenCount]:
    whole = _known(reader)
    said = whole.index.kind.takes.get("max_sequence_length")
    return tokens.count(whole.base.path, whole.index.parts, said.default if said else None, text)


def _guided_by(whole: Assembly) -> str | None:
    config = whole.configs.get(whole.index.denoiser, {})
    return calls.guidance(whole.index.kind.takes, learned=config.get("guidance_embeds"))


def _scheduler(whole: Assembly) -> Mapping[str, Any]:
    """Its configuration, with its class, which old folders name in their index alone."""
    return {"_class_name": whole.index.parts.get("scheduler", ("", ""))[1], **whole.configs.get("scheduler", {})}


def tasks(reader: CheckpointReader) -> frozenset[Task]:
    return frozenset(tasks_of(_known(reader).index.kind.name))


def _known(reader: CheckpointReader) -> Assembly:
    whole = assemble(reader)
    if whole is None:
        raise PluginError(message("{file} has no pipeline that diffusers supports.", file=reader.path.name))
    return whole


DIFFUSERS = Pipeline(
    id="diffusers",
    label="diffusers",
    detect=detect,
    load=load,
    options_of=options_of,
    tasks=tasks,
    takes=takes,
    samplers=samplers,
    count=count,
)


@hookimpl
def sdterm_pipelines() -> list[Pipeline]:
    return [DIFFUSERS]

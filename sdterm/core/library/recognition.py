"""Which model family a checkpoint belongs to, from its header."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import ConfigDict

from sdterm.core.extensions.registry import ContractError, PluginFailure, PluginSet
from sdterm.core.library.about import licence_of
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.pipeline_facts import PipelineFacts, pipeline_facts
from sdterm.core.text import printable
from sdterm.events import Saying, Text
from sdterm.hooks import ModelFamily, ModelMatch, Pipeline, PluginError, Process
from sdterm.messages import message

D = TypeVar("D", bound=ModelFamily | Pipeline)


class Recognition(Saying):
    """What a checkpoint is, in words: for lists of models."""

    model_config = ConfigDict(frozen=True)

    family: str | None = None
    native_size: int | None = None
    process: Process = "vp"
    """How it mixes signal and noise: which samplers can draw with it."""
    usable: bool = True
    note: Text = ""
    """Why it cannot be used."""
    pipeline: PipelineFacts | None = None
    """What may be asked of the pipeline that draws with it; None for a native family."""
    licence: str = ""
    """Empty if it does not say."""
    depends: bool = False
    """Whether it may be another once other files come or go: parts of it lie elsewhere, or are missing."""


def recognise(checkpoint: CheckpointFile, plugins: PluginSet) -> tuple[ModelFamily, ModelMatch]:
    """The first native family that can draw with a checkpoint; where none can, the first that says why not, as a match
    with its refusal, which also names a family that failed. Raises ModelFileError if none knows the file, PluginFailure
    if one that failed might have."""
    return _recognised(checkpoint, plugins, plugins.all(ModelFamily))


def recognise_any(
    checkpoint: CheckpointFile, plugins: PluginSet, pipeline: Pipeline | None = None
) -> tuple[ModelFamily | Pipeline, ModelMatch]:
    """The same of native families, and behind them pipelines; pipeline: of that one alone."""
    there: Sequence[ModelFamily | Pipeline] = (*plugins.all(ModelFamily), *plugins.all(Pipeline))
    return _recognised(checkpoint, plugins, (pipeline,) if pipeline else there)


def _recognised(checkpoint: CheckpointFile, plugins: PluginSet, there: Sequence[D]) -> tuple[D, ModelMatch]:
    refused: tuple[D, ModelMatch] | None = None
    failure: PluginFailure | None = None
    for each in there:
        try:
            match = _detect(each, checkpoint, plugins)
        except PluginFailure as error:
            failure = failure or error
            continue
        if match and not match.refusal:
            return each, match
        if match and not refused:
            refused = each, match
    if refused:
        knows, match = refused
        return knows, replace(
            match, refusal=message("{refusal} {failure}", refusal=match.refusal, failure=failure)
        ) if failure else match
    if failure:
        raise failure
    known = ", ".join(each.label for each in there)
    raise ModelFileError(
        message(
            "{file} belongs to no model family that sdterm supports ({known}).", file=checkpoint.path.name, known=known
        )
    )


def _detect(knows: ModelFamily | Pipeline, checkpoint: CheckpointFile, plugins: PluginSet) -> ModelMatch | None:
    """What one says. Raises ModelFileError if the file is not sound, PluginFailure if it fails."""
    try:
        with plugins.guard(knows, ModelFileError):
            match = knows.detect(checkpoint)
            if not isinstance(match, ModelMatch | None):
                raise ContractError(
                    message("it returned {value}, which is not a ModelMatch", value=printable(repr(match)))
                )
            return match
    except PluginFailure:
        raise
    except PluginError as error:  # its own word on the file
        return ModelMatch(refusal=str(error))


def recognition(checkpoint: CheckpointFile, plugins: PluginSet) -> Recognition:
    """What a checkpoint is, as these plugins know it; a file that nobody can draw with has a note."""
    try:
        family, match = recognise_any(checkpoint, plugins)
        facts = None
        if isinstance(family, Pipeline) and not match.refusal:
            facts = pipeline_facts(family, checkpoint, plugins)
    except (ModelFileError, PluginError) as error:
        return Recognition(usable=False, note=str(error), depends=True)
    if match.refusal:
        return Recognition(usable=False, note=match.refusal, depends=True)
    return Recognition(
        family=match.label or family.label,
        native_size=match.native_size,
        process=match.process,
        licence=licence_of(checkpoint.path, checkpoint.metadata),
        depends=bool(match.files),
        pipeline=facts,
    )


def find_checkpoint(name: str | None, library: Library, plugins: PluginSet) -> CheckpointFile:
    """The checkpoint of that name, or the one that is used where none is named. Raises UnknownNameError."""
    return library.first(lambda each: recognition(each, plugins).usable) if name is None else library.find(name)

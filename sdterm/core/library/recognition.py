"""Which model family a checkpoint belongs to, from its header."""

from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from sdterm.core.extensions.registry import ContractError, PluginFailure, PluginSet
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.text import printable
from sdterm.hooks import ModelFamily, ModelMatch, PluginError, Process


class Recognition(BaseModel):
    """What a checkpoint is, in words: for lists of models."""

    model_config = ConfigDict(frozen=True)

    family: str | None = None
    native_size: int | None = None
    process: Process = "vp"
    """How it mixes signal and noise: which samplers can draw with it."""
    usable: bool = True
    note: str = ""
    """Why it cannot be used."""


def recognise(checkpoint: CheckpointFile, plugins: PluginSet) -> tuple[ModelFamily, ModelMatch]:
    """The first family that can draw with a checkpoint; where none can, the first that says why not, as a match with
    its refusal, which also names a family that failed. Raises ModelFileError if none knows the file, PluginFailure if
    one that failed might have."""
    refused: tuple[ModelFamily, ModelMatch] | None = None
    failure: PluginFailure | None = None
    for family in plugins.all(ModelFamily):
        try:
            match = _detect(family, checkpoint, plugins)
        except PluginFailure as error:
            failure = failure or error
            continue
        if match and not match.refusal:
            return family, match
        if match and not refused:
            refused = family, match
    if refused:
        family, match = refused
        return family, replace(match, refusal=f"{match.refusal} {failure}") if failure else match
    if failure:
        raise failure
    known = ", ".join(family.label for family in plugins.all(ModelFamily))
    raise ModelFileError(f"{checkpoint.path.name} is of no model family that sdterm knows ({known}).")


def _detect(family: ModelFamily, checkpoint: CheckpointFile, plugins: PluginSet) -> ModelMatch | None:
    """What one family says. Raises ModelFileError if the file is not sound, PluginFailure if the family fails."""
    try:
        with plugins.guard(family, ModelFileError):
            match = family.detect(checkpoint)
            if not isinstance(match, ModelMatch | None):
                raise ContractError(f"it gave {printable(repr(match))}, which is no ModelMatch")
            return match
    except PluginFailure:
        raise
    except PluginError as error:  # a family's own word on the file
        return ModelMatch(refusal=str(error))


def recognition(checkpoint: CheckpointFile, plugins: PluginSet) -> Recognition:
    """What a checkpoint is, as these plugins know it; a file that nobody can draw with has a note."""
    try:
        family, match = recognise(checkpoint, plugins)
    except (ModelFileError, PluginError) as error:
        return Recognition(usable=False, note=str(error))
    if match.refusal:
        return Recognition(usable=False, note=match.refusal)
    return Recognition(family=family.label, native_size=match.native_size, process=match.process)


def find_checkpoint(name: str | None, library: Library, plugins: PluginSet) -> CheckpointFile:
    """The checkpoint of that name, or the one that is used where none is named. Raises UnknownNameError."""
    return library.first(lambda each: recognition(each, plugins).usable) if name is None else library.find(name)

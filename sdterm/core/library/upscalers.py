"""Upscalers by their names: those that plugins bring, and the model files that they read."""

from dataclasses import dataclass

from sdterm.core.extensions.registry import PluginSet, named
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.scan import ModelFile
from sdterm.core.names import find, normal
from sdterm.core.settings.model_kinds import KINDS_BY_ID
from sdterm.hooks import Upscaler
from sdterm.messages import message

KIND = "upscaler"


@dataclass(frozen=True)
class ChosenUpscaler:
    """An upscaler that was asked for, found. file: the one whose network it uses, if it uses any."""

    name: str
    """As infotexts have it: the file's name, else the label."""
    of: Upscaler
    file: CheckpointFile | None = None


def find_upscaler(name: str, plugins: PluginSet, library: Library, *, field: str | None = None) -> ChosenUpscaler:
    """The upscaler of that name, and who reads its file. field: of the request, where the name stands in one. Raises
    UnknownNameError, ModelFileError if nobody reads the file, PluginError if a plugin fails."""
    found = named_upscaler(name, plugins, library, field=field)
    if isinstance(found, Upscaler):
        return ChosenUpscaler(found.label, found)
    file = CheckpointFile(found.path)
    for upscaler in plugins.all(Upscaler):
        if upscaler.matches:
            with plugins.guard(upscaler, ModelFileError):
                if upscaler.matches(file):
                    return ChosenUpscaler(found.name, upscaler, file)
    raise ModelFileError(message("{file} is not an upscaler that sdterm supports.", file=found.file_name))


def named_upscaler(
    name: str, plugins: PluginSet, library: Library, *, field: str | None = None
) -> Upscaler | ModelFile:
    """What has that name: an upscaler without weights, or else a file. No code of a plugin is run. Raises
    UnknownNameError."""
    rules = named(upscaler for upscaler in plugins.all(Upscaler) if upscaler.resize)
    for known, upscaler in rules.items():
        if normal(known) == normal(name):
            return upscaler
    files = library.files(KIND)
    called = {name: file for file in reversed(files) for name in (file.name, file.file_name)}
    called |= {file.location: file for file in files}
    advice = message("{kind} belong in {folder}.", kind=KINDS_BY_ID[KIND].label, folder=library.places(KIND)[0])
    there: dict[str, Upscaler | ModelFile] = {**rules, **called}
    return find(KIND, name, there, more=advice, field=field)

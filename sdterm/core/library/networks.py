"""Network files as prompts call them, and who reads them."""

from pathlib import Path

from sdterm.core.extensions.registry import PluginSet
from sdterm.core.library.checkpoints import CheckpointFile, Library, ModelFileError
from sdterm.core.library.scan import PICTURES, ModelFile
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.model_kinds import KINDS_BY_ID, MODEL_KINDS
from sdterm.core.text import printable
from sdterm.hooks import NetworkFormat, WeightsReader
from sdterm.messages import message


def kind_of(role: str) -> str:
    """The library's kind of a role of networks: that whose tag it is, else the one of that name."""
    return next((kind.id for kind in MODEL_KINDS if kind.tag == role), role)


def find_network(library: Library, role: str, name: str) -> ModelFile:
    """The file that prompts call so: by its name, or its maker's name for it. The spelling counts, as in A1111. Raises
    UnknownNameError."""
    kind = kind_of(role)
    file = library.file(kind, name)
    (known,) = library.known([file])
    if name in (file.name, known.get("header", {}).get("alias")):
        return file
    word = KINDS_BY_ID[kind].word
    raise UnknownNameError(
        message(
            "There is no {kind} named '{name}'. Did you mean '{near}'?", kind=word, name=printable(name), near=file.name
        ),
        word,
        name,
    )


def network_reader(path: Path) -> WeightsReader:
    """What formats are given of a file."""
    if path.suffix.lower() not in PICTURES:
        return CheckpointFile(path)
    from sdterm.core.library.pictured import PicturedFile  # it needs numpy, without which hosts and clients start

    return PicturedFile(path)


def format_of(file: ModelFile, role: str, plugins: PluginSet) -> NetworkFormat:
    """Who reads a file. Raises ModelFileError if nobody knows it or it is not sound, PluginError if a plugin fails."""
    reader = network_reader(file.path)
    for network in plugins.all(NetworkFormat):
        if network.role == role:
            with plugins.guard(network, ModelFileError):
                if network.matches(reader):
                    return network
    word = KINDS_BY_ID[kind_of(role)].word
    raise ModelFileError(
        message("{file} is not a {kind} in a format that sdterm supports.", file=file.file_name, kind=word)
    )

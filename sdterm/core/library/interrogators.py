"""Who can say in words what is on a picture, and with which model."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sdterm.core.extensions.registry import PluginSet, named
from sdterm.core.library.checkpoints import Library, ModelFileError
from sdterm.core.names import find
from sdterm.hooks import Gives, Interrogator
from sdterm.messages import message

FOLDERS = ("BLIP", "interrogators", "torch_deepdanbooru")
"""Below a folder of models; each model is a folder of its own in one of them."""
_CONFIG = "config.json"


@dataclass(frozen=True)
class ChosenInterrogator:
    """An interrogator that was asked for, found, with the folder of its model."""

    of: Interrogator
    folder: Path | None = None


def named_interrogators(name: str, plugins: PluginSet) -> tuple[Interrogator, ...]:
    """Those that a name may mean: all without one, all that give that for `caption` or `tags`. Raises
    UnknownNameError."""
    there = plugins.all(Interrogator)
    if not name or name in get_args(Gives):
        return tuple(each for each in there if name in ("", each.gives))
    return (find("interrogator", name, named(there), field="interrogator"),)


def find_interrogator(name: str, plugins: PluginSet, library: Library) -> ChosenInterrogator:
    """The first that the name may mean and that has all it needs. Raises UnknownNameError, ModelFileError if no model
    is there, PluginError if a plugin fails."""
    asked, folders = named_interrogators(name, plugins), model_folders(library)
    for interrogator in sorted(asked, key=lambda each: each.matches is None):  # a model knows more than a rule
        if not interrogator.matches:
            return ChosenInterrogator(interrogator)
        for folder in folders:
            with plugins.guard(interrogator):
                if interrogator.matches(folder):
                    return ChosenInterrogator(interrogator, folder)
    raise ModelFileError(missing(library))


def model_folders(library: Library) -> list[Path]:
    """The folders that may hold such a model."""
    places = dict.fromkeys(place.parent / name for place in library.places("upscaler") for name in FOLDERS)
    found = [folder.parent for place in places if place.is_dir() for folder in sorted(place.glob(f"**/{_CONFIG}"))]
    return [*dict.fromkeys(found)]


def missing(library: Library) -> str:
    """What is needed where nothing can describe pictures."""
    folder = library.places("upscaler")[0].parent / FOLDERS[0]
    return message(
        "There is no model for Interrogate. Put one into {folder}: a folder from Hugging Face with BLIP "
        "or a tagger (config.json, preprocessor_config.json, model.safetensors and the tokenizer's "
        "files).",
        folder=folder,
    )

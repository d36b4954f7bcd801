"""In which folders the model files of each kind lie: the data root's, those of settings, other programs' in place."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sdterm.core.files import regular
from sdterm.core.settings.model_kinds import MODEL_KINDS
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.messages import message

EXTRA_PATHS = "extra_model_paths.yaml"
"""ComfyUI's file that names folders of other programs."""


@dataclass(frozen=True)
class Folders:
    """Kind → its folders, in the order in which they are looked in, and what was wrong with the files that name some.
    A place may also be a single file."""

    of: Mapping[str, tuple[Path, ...]]
    problems: tuple[str, ...] = field(default=())


def default_folders(root: Path) -> Mapping[str, tuple[Path, ...]]:
    """Those of A1111's layout below a data root."""
    return {kind.id: tuple(root / folder for folder in kind.folders) for kind in MODEL_KINDS}


def folders_of(settings: Settings) -> Folders:
    """What the settings say: folders named one by one come first, then the data root's, then other installations'."""
    found: dict[str, list[Path]] = {kind.id: [] for kind in MODEL_KINDS}
    problems: list[str] = []
    for kind in MODEL_KINDS:
        if kind.id == "vae" and settings["vae_path"]:
            found[kind.id].append(Path(settings["vae_path"]).expanduser().absolute())
        if kind.setting:
            found[kind.id] += [Path(folder).expanduser() for folder in settings[kind.setting]]
        if models := settings["models_dir"]:
            found[kind.id] += [
                Path(models, *folder.parts[1:]) for folder in kind.folders if folder.parts[0] == "models"
            ]
        for root in (settings.root, settings["a1111_dir"]):
            found[kind.id] += [Path(root, folder) for folder in kind.folders] if root else []
        if comfyui := settings["comfyui_dir"]:
            found[kind.id] += [Path(comfyui, "models", name) for name in kind.comfyui]
    for path in _extra_paths(settings):
        try:
            for kind_id, folder in _named(path, os.stat(path).st_mtime_ns):
                found[kind_id].append(folder)
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            said = printable(" ".join(str(error).split()), 200)
            problems.append(
                message(
                    "{file} cannot be read, so its folders are not searched: {problem}.",
                    file=printable(str(path)),
                    problem=said,
                )
            )
    return Folders({kind: tuple(dict.fromkeys(folders)) for kind, folders in found.items()}, tuple(problems))


def _extra_paths(settings: Settings) -> Iterator[Path]:
    """Files that are named must be there; those that may lie in a folder need not."""
    yield from map(Path, settings["extra_model_paths"])
    for folder in (settings.root, settings["comfyui_dir"]):
        if folder and (path := Path(folder, EXTRA_PATHS)).is_file():
            yield path


@lru_cache(maxsize=32)
def _named(path: Path, modified: int) -> tuple[tuple[str, Path], ...]:
    """(kind, folder) as ComfyUI reads its file. `modified` is there for the cache. Raises OSError, ValueError,
    yaml.YAMLError."""
    with open(path, encoding="utf-8", opener=regular) as file:
        content = yaml.safe_load(file)
    if not isinstance(content, dict | None):
        raise ValueError(message("it is not a table of installations"))
    kinds = {name: kind.id for kind in MODEL_KINDS for name in kind.comfyui}
    return tuple(
        (kinds[name], folder)
        for installation in (content or {}).values()
        if isinstance(installation, dict)
        for name, lines in installation.items()
        if name in kinds and isinstance(lines, str)
        for folder in _placed(path.parent, installation.get("base_path"), lines)
    )


def _placed(beside: Path, base: Any, lines: str) -> Iterator[Path]:
    base = os.path.expandvars(base) if isinstance(base, str) else ""
    for line in lines.splitlines():
        if line.strip():
            yield beside.absolute() / Path(base).expanduser() / Path(line.strip()).expanduser()

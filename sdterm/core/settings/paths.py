"""The data root: the folder where models, extensions, outputs and settings live."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from sdterm.core.files import legible
from sdterm.errors import SdtermError
from sdterm.messages import message

PACKAGE = Path(__file__).resolve().parents[2]
CHECKPOINTS = Path("models", "Stable-diffusion")
LORAS = Path("models", "Lora")
HYPERNETWORKS = Path("models", "hypernetworks")
EMBEDDINGS = Path("embeddings")
EMBEDDED_MODEL = PACKAGE / "models" / "sdterm-demo.safetensors"


class DataRootError(SdtermError, OSError):
    """The data root cannot be made or used."""

    code = "data_folder"


def data_root(chosen: str | None, environ: Mapping[str, str]) -> Path:
    """`--data-dir`, else `SDTERM_DATA`, else the clone that `launch.py` sits in, else `~/sdterm`."""
    if chosen := chosen or environ.get("SDTERM_DATA"):
        return Path(chosen).expanduser().absolute()
    clone = PACKAGE.parent
    return clone if (clone / "launch.py").is_file() else Path.home() / "sdterm"


def prepare(root: Path) -> None:
    """Make the folders people look for, and copy in the shipped example the first time. Raises DataRootError."""
    if legible(str(root)) != str(root):
        raise DataRootError(
            message(
                "The name of the data folder {folder} is not valid UTF-8. Rename the folder, or choose "
                "another with --data-dir or SDTERM_DATA.",
                folder=legible(str(root)),
            )
        )
    try:
        for folder in (CHECKPOINTS, "embeddings", "extensions", "localizations", "outputs"):
            first_time = not (root / folder).is_dir()
            _make(root / folder)
            if first_time and folder in ("extensions", "localizations") and (source := shipped(str(folder))):
                # translations that ship are read where they lie: a copy would grow old
                shutil.copytree(source, root / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.json"))
    except OSError as error:
        raise DataRootError(
            message(
                "The data folder {folder} cannot be used: {problem}. Choose another with --data-dir or SDTERM_DATA.",
                folder=root,
                problem=os.strerror(error.errno or 0),
            )
        ) from error


def _make(folder: Path) -> None:
    """With what is above it; others may not write there, whatever the umask. Raises OSError."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)


def shipped(folder: str) -> Path | None:
    """Where the package's own copy of `extensions` or `localizations` lies: in the wheel, or in the clone."""
    places = (PACKAGE / "_shipped" / folder, PACKAGE.parent / folder)
    return next((place for place in places if place.is_dir()), None)

"""Checkpoints and VAEs under the names that A1111 gives them."""

from collections.abc import Callable
from typing import Any

from sdterm.core.library.checkpoints import AUTOMATIC_VAE, NO_VAE, CheckpointFile, Library, library_of
from sdterm.core.names import UnknownNameError
from sdterm.core.settings.settings import Settings
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.services import HostServices


class UnknownCheckpointError(SdtermError, RuntimeError):
    """A1111's 500 for a checkpoint that is not there, where a setting names it."""

    code = BAD_REQUEST


def checkpoint_name(find: Callable[[str], CheckpointFile], name: Any) -> str | None:
    """A name that finds the checkpoint of A1111's title, `file [hash]`; None if there is none, as A1111 has it."""
    title = str(name or "").strip()
    stem, _, rest = title.partition(" [")
    for wanted in (rest.rstrip("]"), stem, title):
        try:
            if wanted and find(wanted):
                return wanted
        except UnknownNameError:
            continue
    return None


def vae_name(library: Library, name: Any) -> str:
    """A VAE's name; unknown ones are the checkpoint's own, as A1111 has it."""
    wanted = str(name or AUTOMATIC_VAE)
    try:
        library.find_vae(wanted, library.checkpoints()[0])
    except UnknownNameError:
        return NO_VAE
    return wanted


def is_unknown_vae(library: Library, name: Any) -> bool:
    """Whether a setting names a VAE that is not there."""
    return bool(name) and str(name) != NO_VAE and vae_name(library, name) == NO_VAE


def chosen_checkpoint(services: HostServices, settings: Settings) -> tuple[CheckpointFile, str | None] | None:
    """The checkpoint that is drawn with and its hash, if that is known."""
    try:
        found = services.checkpoints.drawn_with(settings["model"], services.extensions.families)
    except UnknownNameError:
        return None
    return found, library_of(settings).known_hash(found.path)


def title_of(chosen: tuple[CheckpointFile, str | None] | None) -> str | None:
    """A1111's `file [hash]`."""
    if chosen is None:
        return None
    checkpoint, digest = chosen
    return f"{checkpoint.path.name} [{digest[:10]}]" if digest else checkpoint.path.name


def listed_model(checkpoint: CheckpointFile, settings: Settings) -> dict[str, Any]:
    """An item of A1111's list."""
    digest = library_of(settings).known_hash(checkpoint.path)
    return {
        "title": title_of((checkpoint, digest)),
        "model_name": checkpoint.name,
        "hash": digest[:10] if digest else None,
        "sha256": digest,
        "filename": str(checkpoint.path),
        "config": str(config) if (config := checkpoint.path.with_suffix(".yaml")).is_file() else None,
    }

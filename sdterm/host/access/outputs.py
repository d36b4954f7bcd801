"""Guests reach no file outside the outputs folder, wherever its user keeps pictures besides."""

from pathlib import Path

from sdterm.core.output.saving import Saving
from sdterm.host.access.guests import ForbiddenError
from sdterm.messages import message


def check_saving(wanted: Saving | None, own: Saving) -> None:
    """Raises ForbiddenError if a guest's job would write outside the host's outputs folder."""
    if wanted is None:
        return
    if not _is_within(wanted.folder, own.folder):
        raise _forbidden(
            "saving.folder", message("Over the network, images are saved in the host's outputs folder or below it.")
        )
    if wanted.last_infotext not in (None, own.last_infotext):
        raise _forbidden(
            "saving.last_infotext", message("Over the network, only the host says where it keeps the last infotext.")
        )


def check_picture(path: str, own: Saving) -> None:
    """Raises ForbiddenError if a picture's file lies outside the host's outputs folder."""
    if not _is_within(Path(path), own.folder):
        raise _forbidden(
            None, message("This image is not in the host's outputs folder, so it cannot be read over the network.")
        )


def _forbidden(field: str | None, sentence: str) -> ForbiddenError:
    error = ForbiddenError(sentence)
    error.field = field
    return error


def _is_within(path: Path, folder: Path) -> bool:
    """Whether it is there in truth, links followed."""
    return path.resolve().is_relative_to(folder.resolve())

"""A1111's interrogate: pure."""

from pathlib import Path
from typing import Any

from sdterm.core.infotext.files import ImageFileError, read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.host.sdapi.encoded import Fetch, picture
from sdterm.host.sdapi.values import INTERROGATE, InvalidError, read_values

_GIVES = {"clip": "caption", "deepdanbooru": "tags"}
"""A1111's name of a model → what it gives."""


class UnknownModelError(SdtermError, LookupError):
    """A1111's 404 "Model not found"."""

    code = BAD_REQUEST


def asked(body: Any, fetch: Fetch | None = None) -> tuple[str, bytes]:
    """What a body wants to have, and its picture's file. Raises InvalidError, BadImageError, UnknownModelError."""
    values = read_values(body, INTERROGATE)
    if absent := [name for name, value in values.items() if value is None]:
        said = {"msg": "none is not an allowed value", "type": "type_error.none.not_allowed"}
        raise InvalidError([{"loc": ["body", name], **said} for name in absent])
    file = picture(str(values.get("image", "")), fetch)
    if (name := values.get("model", "clip")) not in _GIVES:
        raise UnknownModelError("Model not found")
    return _GIVES[name], file


def prompt_of(path: Path) -> str:
    """Of a picture's infotext; empty if it has none."""
    try:
        said = parse(read_infotext(path) or "")
    except ImageFileError:
        return ""
    return said.prompt if said.parameters else ""

"""What somebody pastes: an infotext, the path of a picture, or just words."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sdterm.core.infotext.grammar import is_infotext
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.tui.differing import as_told
from sdterm.tui.fields import quick_field
from sdterm.tui.language import tr

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".txt"}
_LONGEST = 200_000


def harmless(text: str) -> tuple[str, int]:
    """A pasted text with its lines ended by a line feed, and without control characters; and how many it had."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in lines if c in "\n\t" or not ("\x00" <= c < " " or "\x7f" <= c < "\xa0"))
    return kept, len(lines) - len(kept)


def path_in(text: str) -> Path:
    """The path that a text is, as shells and file managers write it: in quotes, with escaped characters, as a URL."""
    bare = text.strip().strip("'\"")
    if bare.startswith("file://"):
        return Path(unquote(bare.removeprefix("file://")))
    return Path(bare if os.path.exists(bare) else re.sub(r"\\(.)", r"\1", bare))


def is_like_a_path(text: str) -> bool:
    """Whether a text is written like the path of a picture."""
    bare = text.strip().strip("'\"")
    begins = bare.startswith(("/", "~", "./", "../", "file://"))
    return begins and "\n" not in bare and os.path.splitext(bare)[1].lower() in _SUFFIXES


def no_files_here(settings: Settings) -> str:
    """Why no file is read that somebody names; empty if it is. A page is open to others than the owner of the files."""
    if not settings["in_page"]:
        return ""
    return tr("In a web page, no files can be read by their paths. A saved image has a number, like #12.")


def infotext_in(text: str, *, reads_files: bool = True) -> str | None:
    """The infotext that a pasted text is, or that the picture has whose path it is; None if it is neither."""
    if len(text) > _LONGEST:
        return None
    if is_infotext(text):
        return text
    if not reads_files:
        return None
    path = path_in(text)
    if "\n" in text.strip() or path.suffix.lower() not in _SUFFIXES:
        return None
    from sdterm.core.infotext.files import ImageFileError, infotext_from

    try:
        path = path.expanduser()
        return infotext_from(str(path)) if path.is_file() else None
    except (ImageFileError, OSError, RuntimeError):  # the last for a home that nobody has: ~nobody/picture.png
        return None


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """A line for each field of the form that is another one then."""
    after = {**now, **then}
    fields = {field.id: field for field in map(quick_field, (name for name in then if name in FIELDS))}
    return [
        f"{tr(field.label)}: {_short(as_told(field, now))} → {_short(as_told(field, after))}"
        for field in fields.values()
        if any(_plain(now.get(row.name)) != _plain(after.get(row.name)) for row in field.rows)
    ]


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return "" if value in (None, {}) else f"{value:g}" if isinstance(value, float) else str(value)


def _short(text: str) -> str:
    return printable(text.replace("\n", " "), 60) or "-"

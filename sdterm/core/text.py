"""Text that may come from anywhere, made harmless for a terminal."""

import unicodedata
from collections.abc import Iterator

from sdterm.messages import Message

_JOINERS = "\u200c\u200d"
_MOST_MARKS = 10  # on one letter, one above the other; no language has so many


def printable(text: str, limit: int = 200) -> str:
    """`text` without what a terminal would obey, what would reorder a line, and piles of marks on one letter; cut to
    `limit` characters. A message stays one, unless it is cut."""
    if isinstance(text, Message) and len(text) <= limit and text.template == printable(text.template, limit):
        return text.mapped(lambda value: printable(value, limit))
    plain = text.isascii() and text.isprintable()  # nearly all: the names of a file's thousands of tensors
    clean = text if plain else "".join(_harmless(text))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def bar(share: float, cells: int = 24) -> str:
    """A share of 0 to 1, drawn: `[######......]`."""
    full = round(share * cells)
    return f"[{'#' * full}{'.' * (cells - full)}]"


def file_size(count: int) -> str:
    """Bytes, as hubs and file managers count them: `6.94 GB`, `25.3 MB`, `3.1 kB`."""
    return (
        f"{count / 1e9:.2f} GB"
        if count >= 1e9
        else f"{count / 1e6:.1f} MB"
        if count >= 1e6
        else f"{count / 1e3:.1f} kB"
    )


def _harmless(text: str) -> Iterator[str]:
    marks = 0
    for character in text:
        if character in _JOINERS or unicodedata.category(character) in ("Mn", "Me"):
            marks += 1
            if marks <= _MOST_MARKS + 1:
                yield character if marks <= _MOST_MARKS else "…"
        else:
            marks = 0
            yield "�" if is_obeyed(character) else character


def is_obeyed(character: str) -> bool:
    """Controls, bidirectional overrides, line separators, surrogates; not the joiners inside emoji and scripts."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in _JOINERS

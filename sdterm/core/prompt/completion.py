"""Lists of tags to complete words from: the CSV files of A1111's Tag Autocomplete, in `tags/`.

A row is name, type, post count, "alias,alias"; only the name must be there. A list of translations has two or three
columns, and its last is an alias.
"""

from __future__ import annotations

import csv
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdterm.core.files import regular
from sdterm.core.prompt.edit import Edited

_LONGEST = 300  # characters of a name
_LONGEST_ROW = 20_000
_SIGN = re.compile(r"\\.|[,\n|<>()\[\]:]|\bAND\b|\bBREAK\b")
"""What a tag does not reach over, looking back from the cursor; an escaped sign is part of it."""
_NETWORK_BEGUN = re.compile(r"<[^<>,\n]*")


@dataclass(frozen=True, slots=True)
class Tag:
    """A word to offer. `posts`: how often it is used; 0 if nobody counted."""

    name: str
    posts: int = 0
    aliases: tuple[str, ...] = ()
    is_style: bool = False
    """Whether it is the name of a style, and no text of a prompt."""
    text: str = ""
    """What is written for it as it stands, where that is not its name as a prompt has it."""
    note: str = ""
    """What is said of it beside its name."""


class Tags:
    """A list of tags, ready to be searched. It keeps two long texts and no object for each: 15 MB for 150,000 tags."""

    def __init__(self, tags: Iterable[Tag] = ()) -> None:
        """Tags of one name are taken together."""
        ordered = sorted(_united(tags), key=lambda tag: -tag.posts)
        self._posts = array("q", (min(tag.posts, 2**62) for tag in ordered))
        self._names, self._name_ends = _joined("\0".join((tag.name, *tag.aliases)) for tag in ordered)
        # Each key stands behind a line break, the most used tag's first: the first that are found are the best.
        self._keys, self._key_ends = _joined(
            "".join(f"\n{_key(word)}" for word in (tag.name, *tag.aliases)) for tag in ordered
        )

    def __len__(self) -> int:
        return len(self._posts)

    def complete(self, word: str, limit: int = 8) -> list[Tag]:
        """Tags that begin like that (or an alias does), the most used first; then those that have it inside."""
        key = _key(word)
        found: dict[int, None] = {}
        if not key or key not in self._keys:
            return []
        for wanted in (f"\n{key}", key):
            at = self._keys.find(wanted)
            while at >= 0 and len(found) < limit:
                index = bisect_right(self._key_ends, at)
                found[index] = None
                at = self._keys.find(wanted, self._key_ends[index])
        return [self._tag(index) for index in found]

    def _tag(self, index: int) -> Tag:
        start = self._name_ends[index - 1] if index else 0
        name, *aliases = self._names[start : self._name_ends[index]].split("\0")
        return Tag(name, self._posts[index], tuple(aliases))


def _united(tags: Iterable[Tag]) -> Iterable[Tag]:
    united: dict[str, Tag] = {}
    for tag in tags:
        if known := united.get(tag.name):
            aliases = tuple(dict.fromkeys(known.aliases + tag.aliases))
            tag = Tag(tag.name, max(known.posts, tag.posts), aliases)
        united[tag.name] = tag
    return united.values()


def _joined(parts: Iterable[str]) -> tuple[str, array[int]]:
    """The parts one behind the other, and where each ends."""
    ends = array("Q")
    end = 0
    kept = []
    for part in parts:
        kept.append(part)
        end += len(part)
        ends.append(end)
    return "".join(kept), ends


def _key(word: str) -> str:
    """What is compared: `Long_Hair` as `long hair`, and `\\(` as `(`."""
    return " ".join(word.replace("_", " ").replace("\\", "").casefold().split())


def read_tags(folder: Path) -> Tags:
    """All lists of a folder. Rows that are none, and files that cannot be read, are passed over: a list of a hundred
    thousand rows from the net has some."""
    return Tags(tag for path in sorted(folder.glob("*.csv")) if path.is_file() for tag in _read(path))


def _read(path: Path) -> Iterator[Tag]:
    try:
        with open(path, encoding="utf-8-sig", errors="replace", opener=regular) as file:
            for line in file:  # one by one: a quote that is never closed costs its row only
                row = next(csv.reader((line,)), []) if '"' in line else line.split(",")
                name = row[0].strip() if row else ""
                if name and len(name) <= _LONGEST and len(line) <= _LONGEST_ROW and name.isprintable():
                    yield _tag(name, [column.strip() for column in row[1:]])
    except (OSError, csv.Error):
        return


def _tag(name: str, columns: list[str]) -> Tag:
    counted = columns[1] if len(columns) > 1 else ""
    last = columns[2] if len(columns) > 2 else columns[-1] if columns else ""
    if len(columns) < 3 and last.lstrip("-").isdecimal():  # a type or a count
        last = ""
    aliases = tuple(alias for part in last.split(",") if (alias := part.strip()) and alias.isprintable())
    return Tag(name, int(counted[:12]) if counted.isdecimal() else 0, aliases)


def word_before(text: str, caret: int) -> tuple[int, int]:
    """The span of the tag that is being typed at the cursor; an opened `<` belongs to it. A colon ends a tag only
    inside brackets, where it comes before a weight or another text: `re:zero` and `:d` are tags."""
    start = opened = max(0, caret - _LONGEST)
    depth = 0
    for match in _SIGN.finditer(text, start, caret):
        sign = match[0]
        if sign[0] == "\\" or (sign == ":" and not depth):
            continue
        if sign == "<":
            opened = match.start()
        depth = max(0, depth + (sign in "([") - (sign in ")]"))
        start = match.end()
    if _NETWORK_BEGUN.fullmatch(text, opened, caret):
        start = opened
    while start < caret and text[start] == " ":
        start += 1
    return start, caret


def inserted(text: str, span: tuple[int, int], tag: Tag) -> Edited:
    """The text with a tag in the place of a word: spaces for underscores, its brackets escaped, a comma behind it."""
    name = tag.text or escaped(tag.name if _is_face(tag.name) else tag.name.replace("_", " "))
    start, end = span
    behind = text[end:].lstrip(" ")
    more = "" if behind.startswith((",", ")", "]", ":", "|")) else ", "
    rest = text[end:].removeprefix(" ") if more else text[end:]
    caret = start + len(name) + len(more)
    return Edited(text[:start] + name + more + rest, (caret, caret))


def escaped(name: str) -> str:
    """A name whose brackets are no signs of the grammar."""
    return re.sub(r"([()\[\]\\])", r"\\\1", name)


def _is_face(name: str) -> bool:
    """`^_^`, `o_o`, `(o)_(o)`: no spaces belong there."""
    sides = name.split("_")
    return len(sides) == 2 and all(side and sum(c.isalnum() for c in side) <= 1 for side in sides)

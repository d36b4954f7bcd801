"""Lists of tags to complete words from: the CSV files of A1111's Tag Autocomplete, in `tags/`.

A row is name, type, post count, "alias,alias"; a list of translations has three columns, and its third is an alias.
"""

import csv
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from pathlib import Path

from sdterm.core.prompt.edit import Edited

_ENDS = re.compile(r"[,\n()\[\]|<>:]|\bAND\b|\bBREAK\b")
"""What a tag does not reach over, looking back from the cursor."""
_INSIDE = 400  # words found in the middle of tags, of which the most used are offered
_LONGEST = 300  # characters of a name


@dataclass(frozen=True)
class Tag:
    """A word to offer. `posts`: how often it is used; 0 if nobody counted."""

    name: str
    posts: int = 0
    aliases: tuple[str, ...] = ()


class Tags:
    """A list of tags, ready to be searched."""

    def __init__(self, tags: Iterable[Tag] = ()) -> None:
        self._tags = [*tags]
        words = [(key, at) for at, tag in enumerate(self._tags) for key in map(_key, (tag.name, *tag.aliases)) if key]
        words.sort()
        self._keys = [key for key, _ in words]
        self._owners = [at for _, at in words]
        self._all = "\n" + "\n".join(key for key, _ in words) + "\n"

    def __len__(self) -> int:
        return len(self._tags)

    def complete(self, word: str, limit: int = 8) -> list[Tag]:
        """Tags that begin like that (or an alias does), the most used first; then those that have it inside."""
        key = _key(word)
        if not key:
            return []
        first = bisect_left(self._keys, key)
        last = bisect_left(self._keys, key + "\U0010ffff")
        found = _most({self._owners[at] for at in range(first, last)}, self._tags, limit)
        if len(found) < limit:
            inside = {self._owners[at] for at in islice(self._inside(key), _INSIDE)} - {*found}
            found += _most(inside, self._tags, limit - len(found))
        return [self._tags[at] for at in found]

    def _inside(self, key: str) -> Iterator[int]:
        at = self._all.find(key)
        while at >= 0:
            start = self._all.rfind("\n", 0, at) + 1
            end = self._all.index("\n", at)
            yield bisect_left(self._keys, self._all[start:end])
            at = self._all.find(key, end)


def _most(owners: set[int], tags: list[Tag], limit: int) -> list[int]:
    return nlargest(limit, owners, key=lambda at: (tags[at].posts, -at))


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def read_tags(folder: Path) -> Tags:
    """All lists of a folder. Rows that are none, and files that cannot be read, are passed over: a list of a hundred
    thousand rows from the net has some."""
    return Tags(tag for path in sorted(folder.glob("*.csv")) for tag in _read(path))


def _read(path: Path) -> Iterator[Tag]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.reader(file):
                name = row[0].strip() if row else ""
                if name and len(name) <= _LONGEST and not name.startswith("#"):
                    count = row[2].strip() if len(row) > 3 else ""
                    more = (
                        row[3] if len(row) > 3 else row[2] if len(row) == 3 and not row[2].strip().isdecimal() else ""
                    )
                    posts = row[2].strip() if len(row) == 3 else count
                    yield Tag(name, int(posts[:12]) if posts.isdecimal() else 0, tuple(filter(None, more.split(","))))
    except (OSError, csv.Error):
        return


def word_before(text: str, caret: int) -> tuple[int, int]:
    """The span of the tag that is being typed at the cursor; an opened `<` belongs to it."""
    start = 0
    for match in _ENDS.finditer(text, max(0, caret - _LONGEST), caret):
        start = match.end()
    opened = text.rfind("<", max(0, caret - _LONGEST), caret)
    if opened >= 0 and text.find(">", opened, caret) < 0 and "\n" not in text[opened:caret]:
        start = opened
    while start < caret and text[start] == " ":
        start += 1
    return start, caret


def inserted(text: str, span: tuple[int, int], tag: Tag) -> Edited:
    """The text with a tag in the place of a word: spaces for underscores, its brackets escaped, a comma behind it."""
    name = tag.name
    if not name.startswith("<"):
        if any(c.isalnum() for c in name):  # ^_^ is a face
            name = name.replace("_", " ")
        name = re.sub(r"([()\[\]\\])", r"\\\1", name)
    start, end = span
    behind = text[end:].lstrip(" ")
    more = "" if behind.startswith((",", ")", "]", ":", "|")) else ", "
    rest = text[end:].removeprefix(" ") if more else text[end:]
    caret = start + len(name) + len(more)
    return Edited(text[:start] + name + more + rest, (caret, caret))

"""Infotext: the parameters of an image as text, in A1111's grammar, so that both programs read each other's files."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A key and its value as A1111's parser sees them. Taken run by run, so that a long line costs linear time: A1111's one
# pattern for the pair starts anew at every character of what turns out to be no key.
_RUN = re.compile(r"[\w \-/]+")
_KEY = re.compile(r"\w[\w \-/]+")
_VALUE = re.compile(r'\s*("(?:\\.|[^\\"])*+"(?=,|$)|[^,]*)')
_NEGATIVE = "Negative prompt:"
_FEWEST = 3  # pairs; with fewer, the last line is prompt


@dataclass(frozen=True)
class Infotext:
    """An infotext taken apart; `parameters` keeps every key, known or not, in order."""

    prompt: str
    negative_prompt: str
    parameters: Mapping[str, str]


def is_key(text: str) -> bool:
    """Whether A1111's parser would read this as a key: a word character, then letters, digits, `_`, space, `-`, `/`."""
    return _KEY.fullmatch(text) is not None and text == text.strip()


def write(prompt: str, negative_prompt: str, parameters: Mapping[str, Any]) -> str:
    """Prompt, negative prompt if any, then `Key: value, …` on one line; values of None are left out, and a key whose
    value says the same stands alone."""
    pairs = [
        key if key == str(value) else f"{key}: {_quoted(str(value))}"
        for key, value in parameters.items()
        if value is not None
    ]
    negative = f"\n{_NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{', '.join(pairs)}".strip()


def parse(text: str) -> Infotext:
    """Read an infotext as A1111 does: the last line holds the parameters if at least three pairs are found in it."""
    *lines, last = text.strip().split("\n")
    pairs = list(_pairs(last))
    if sum(value is not None for _, value in pairs) < _FEWEST:
        lines, pairs = [*lines, last], []
    prompt: list[str] = []
    negative: list[str] | None = None
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            negative = [] if negative is None else negative
            line = line.removeprefix(_NEGATIVE).strip()
        (prompt if negative is None else negative).append(line)
    parameters: dict[str, str] = {}
    for key, value in pairs:
        if value is not None:
            parameters[key] = _unquoted(value)
        else:
            parameters.setdefault(key, key)
    return Infotext("\n".join(prompt).strip(), "\n".join(negative or ()).strip(), parameters)


def is_infotext(text: str) -> bool:
    """Whether a text is an infotext and not just words, of which some may look like keys: all programs write the
    number of steps."""
    return "Steps" in parse(text).parameters


def _pairs(line: str) -> Iterator[tuple[str, str | None]]:
    """(key, value as it stands) along the line; a key that stands alone between commas has no value."""
    position = 0
    while run := _RUN.search(line, position):
        before, position, key = line[max(run.start() - 1, 0) : run.start()], run.end(), run[0].lstrip(" -/")
        after = line[position : position + 1]
        if after == ":" and _KEY.fullmatch(key):
            value = _VALUE.match(line, position + 1)
            assert value  # it matches anything
            position = value.end()
            yield key, value[1]
        elif before in ("", ",") and after in ("", ",") and is_key(key.rstrip()):
            yield key.rstrip(), None


def _quoted(value: str) -> str:
    """As JSON where A1111 does it (commas, colons, line ends), and where the bare value would not be read back."""
    bare = value == value.strip() and not value.startswith('"') and not any(c in value for c in ",:\n")
    return value if bare else json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            text = str(json.loads(value))
            text.encode()  # JSON can name half a character, which no file can hold
        except (ValueError, RecursionError):
            return value
        return text
    return value.strip()

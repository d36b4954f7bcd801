"""Infotext: the parameters of an image as text, in A1111's grammar, so that both programs read each other's files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A1111's pattern, but for the limit on a key's length: without one, a long line takes quadratic time.
_PAIR = re.compile(r'\s*(\w[\w \-/]{1,100}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"


@dataclass(frozen=True)
class Infotext:
    """An infotext taken apart; `parameters` keeps every key, known or not, in order."""

    prompt: str
    negative_prompt: str
    parameters: Mapping[str, str]


def write(prompt: str, negative_prompt: str, parameters: Mapping[str, Any]) -> str:
    """Prompt, negative prompt if any, then `Key: value, …` on one line; values of None are left out."""
    pairs = [f"{key}: {_quoted(str(value))}" for key, value in parameters.items() if value is not None]
    negative = f"\n{_NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{', '.join(pairs)}".strip()


def parse(text: str) -> Infotext:
    """Read an infotext as A1111 does: the last line holds the parameters if at least three pairs are found in it."""
    *lines, last = text.strip().split("\n")
    if len(_PAIR.findall(last)) < 3:
        lines, last = [*lines, last], ""
    prompt: list[str] = []
    negative: list[str] = []
    for line in lines:
        if line.strip().startswith(_NEGATIVE):
            negative.append(line.strip().removeprefix(_NEGATIVE).strip())
        else:
            (negative if negative else prompt).append(line.strip())
    pairs = {key: _unquoted(value) for key, value in _PAIR.findall(last)}
    return Infotext("\n".join(prompt).strip(), "\n".join(negative).strip(), pairs)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(c in value for c in ",:\n") else value


def _unquoted(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()

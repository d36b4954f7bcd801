"""Composition: `a red house AND a lake:0.8`, several prompts that guide one image together."""

import re
from dataclasses import dataclass

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))")


@dataclass(frozen=True)
class Part:
    """One prompt of a composition. `span` is of its text, without the weight."""

    text: str
    weight: float
    span: tuple[int, int]


def composition(text: str) -> tuple[Part, ...]:
    """The parts between ANDs. A number after a last colon is the part's weight, also where there is no AND.
    Source: A1111 prompt_parser.get_multicond_prompt_list."""
    parts = []
    start = 0
    for match in [*_AND.finditer(text), None]:
        end = match.start() if match else len(text)
        parts.append(_part(text[start:end], start))
        start = match.end() if match else end
    return tuple(parts)


def _part(text: str, start: int) -> Part:
    body = text.rstrip()
    before, colon, tail = body.rpartition(":")
    number = _WEIGHT.fullmatch(tail) if colon else None
    if number:
        body = before.rstrip()
    return Part(body, float(number[1]) if number else 1.0, (start, start + len(body)))

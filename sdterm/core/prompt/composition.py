"""Prompts joined by `AND`, each with a weight of its own: `a cat :1.2 AND a dog`."""

import re
from dataclasses import dataclass

_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")


@dataclass(frozen=True)
class Part:
    text: str
    weight: float
    span: tuple[int, int]
    """Where `text` stands, the weight left out."""


def composition(text: str) -> tuple[Part, ...]:
    """The parts, at least one. A number behind a part's last colon is its weight, even if there is no `AND`.

    Source: A1111 prompt_parser.get_multicond_prompt_list; `re_weight` there is what `_part` does, but its time grows
    with the square of the text.
    """
    cuts = [match.span() for match in _AND.finditer(text)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    return tuple(_part(text, start, end) for start, end in zip(starts, ends, strict=True))


def _part(text: str, start: int, end: int) -> Part:
    colon = text.rfind(":", start, end)
    number = _NUMBER.fullmatch(text, colon + 1, end) if colon >= 0 else None
    part = text[start : colon if number else end].rstrip()
    return Part(part, float(number[1]) if number else 1.0, (start, start + len(part)))

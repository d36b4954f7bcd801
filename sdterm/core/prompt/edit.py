"""What keys do to a prompt: weights up and down, phrases to and fro."""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import floor, isinf

STEP, STEP_OF_TAGS = 0.1, 0.05
_DELIMITERS = ".,\\/!?%^*;:{}=`~() \t\r\n"
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WEIGHTED = re.compile(r".*:-?[0-9.]", re.DOTALL)
_DEEPEST = 1000  # brackets in one another whose weight is worked out; that of some thousands is no float


@dataclass(frozen=True)
class Edited:
    """A text and what is selected in it; both ends are the cursor if nothing is."""

    text: str
    selection: tuple[int, int]


def emphasise(text: str, start: int, end: int, direction: int) -> Edited:
    """One step more (1) or less (-1) weight for what is selected, or for the brackets or word around the cursor:
    `word` → `(word:1.1)`, and back at 1; `((word))` → `(word:1.3)`. In `<…>` a step is 0.05.

    Source: A1111 javascript/edit-attention.js with its default settings, quirks and all (an escaped bracket is a
    bracket there), but for weights that it writes as 1e-7 or 1e+21 and then reads as text: they have all their digits.
    """
    if start == end:
        start, end = (
            _inside(text, start, "<", ">")
            or _inside(text, start, "(", ")")
            or _inside(text, start, "[", "]")
            or _word(text, start)
        )
    same = Edited(text, (start, end))
    before, behind = text[start - 1 : start] if start else "", text[end : end + 1]
    closer, step = (">", STEP_OF_TAGS) if before == "<" else (")", STEP)
    if (before, behind) in (("(", ")"), ("[", "]")):
        depth = 1
        while (
            start - depth - 1 >= 0
            and text[start - depth - 1] == before
            and text[end + depth : end + depth + 1] == behind
        ):
            depth += 1
        if depth > _DEEPEST:
            return same
        weight = floor((1.1 if before == "(" else 1 / 1.1) ** depth / STEP + 0.5) * STEP
        text = f"{text[: start - depth]}({text[start:end]}:{_written(weight)}){text[end + depth :]}"
        start, end = start - depth + 1, end - depth + 1
    elif before not in ("(", "<"):
        while end > start and text[end - 1] == " ":
            end -= 1
        if start == end:
            return same
        text = f"{text[:start]}({text[start:end]}:1.0){text[end:]}"
        start, end = start + 1, end + 1
    if text[end : end + 1] != ":":
        return same
    length = text[end + 1 :].find(closer) + 1
    number = _NUMBER.match(text[end + 1 : max(end + 1, end + length)])
    if not number or isinf(float(number[1])):
        return same
    weight = float(f"{float(number[1]) + direction * step:.12g}")
    if closer == ")" and weight == 1:
        close = text.index(")", end)
        return Edited(text[: start - 1] + text[start:end] + text[close + 1 :], (start - 1, end - 1))
    written = _written(weight)
    return Edited(text[: end + 1] + written + text[end + length :], (start, end))


def _written(number: float) -> str:
    """The shortest digits that mean this number, one behind the point at least."""
    digits = f"{Decimal(repr(number + 0.0)):f}"  # + 0.0: -0.0 is 0
    return digits if "." in digits else digits + ".0"


def _inside(text: str, at: int, opener: str, closer: str) -> tuple[int, int] | None:
    """What is between the nearest brackets around the cursor, without a weight; None if others are in between."""
    first, last = text.rfind(opener, 0, at), text.find(closer, at)
    if first < 0 or last < 0 or text.rfind(closer, 0, at) > first or 0 <= text.find(opener, at) < last:
        return None
    content = text[first + 1 : last]
    length = content.rindex(":") if _WEIGHTED.match(content) else len(content)
    return first + 1, first + 1 + length


def _word(text: str, at: int) -> tuple[int, int]:
    start = end = at
    while start > 0 and text[start - 1] not in _DELIMITERS:
        start -= 1
    while end < len(text) and text[end] not in _DELIMITERS:
        end += 1
    return start, end


def move_phrase(text: str, start: int, end: int, direction: int) -> Edited:
    """The phrases between commas that the selection touches, before the one on their left (-1) or behind the one on
    their right (1). Source: A1111 javascript/edit-order.js."""
    phrases = text.split(",")
    first, last = text.count(",", 0, start), text.count(",", 0, end)
    moved = phrases[first : last + 1]
    rest = phrases[:first] + phrases[last + 1 :]
    to = first + direction
    if to < 0 or last + direction >= len(phrases):
        return Edited(text, (start, end))
    order = [*rest[:to], *moved, *rest[to:]]
    begins = len(",".join(order[:to])) + (1 if to else 0)
    return Edited(",".join(order), (begins, len(",".join(order[: to + len(moved)]))))

"""Emphasis: `(a)`, `[a]`, `(a:1.3)`, and BREAK, as weighted pieces of text."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

BREAK = "BREAK"
BREAK_WEIGHT = -1.0
_ROUND, _SQUARE = 1.1, 1 / 1.1
_TOKEN = re.compile(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")
_EXACT_DEPTH = 64


@dataclass(frozen=True)
class Piece:
    """Text of one weight. One that reads BREAK and weighs -1 ends a chunk (see `is_break`)."""

    text: str
    weight: float
    span: tuple[int, int]

    @property
    def is_break(self) -> bool:
        return self.text == BREAK and self.weight == BREAK_WEIGHT


def pieces(text: str) -> tuple[Piece, ...]:
    """The pieces of a text, neighbours of one weight joined; at least one. Source: A1111 parse_prompt_attention.

    A BREAK within brackets is multiplied like everything else there, and is a word then, as in A1111. A weight that is
    no number, on which A1111 fails, is text.
    """
    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    own: list[float] = []
    round_open: list[int] = []
    square_open: list[int] = []
    ranges: list[tuple[int, int, float]] = []  # (first piece, piece after the last, factor), in order of application

    def add(piece: str, start: int, end: int, weight: float = 1.0) -> None:
        texts.append(piece)
        spans.append((start, end))
        own.append(weight)

    for match in _TOKEN.finditer(text):
        token, start, end = match[0], match.start(), match.end()
        weight = _number(match[1]) if match[1] and round_open else None
        if token[0] == "\\":
            add(token[1:], start, end)
        elif token == "(":
            round_open.append(len(texts))
        elif token == "[":
            square_open.append(len(texts))
        elif weight is not None:
            ranges.append((round_open.pop(), len(texts), weight))
        elif token[-1] == ")" and round_open:
            if match[1]:
                add(token[:-1], start, end - 1)
            ranges.append((round_open.pop(), len(texts), _ROUND))
        elif token == "]" and square_open:
            ranges.append((square_open.pop(), len(texts), _SQUARE))
        else:
            for part, part_start, part_end in _broken(token, start):
                add(part, part_start, part_end, BREAK_WEIGHT if part is BREAK else 1.0)
    ranges += [(first, len(texts), _ROUND) for first in round_open]
    ranges += [(first, len(texts), _SQUARE) for first in square_open]
    if not texts:
        return (Piece("", 1.0, (0, len(text))),)
    return tuple(_joined(texts, _multiplied(own, ranges), spans))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _broken(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Text cut at each BREAK, which takes the white space around it along."""
    position = 0
    for match in [*_BREAK.finditer(text), None]:
        end = match.start() if match else len(text)
        part = text[position:end]
        if position:
            position += len(part) - len(part.lstrip())
            part = part.lstrip()
        part = part.rstrip() if match else part
        yield part, start + position, start + position + len(part)
        if match:
            yield BREAK, start + match.start(), start + match.end()
            position = match.end()


def _multiplied(weights: list[float], ranges: list[tuple[int, int, float]]) -> list[float]:
    """Each weight times the factors of its ranges, in their order, as A1111 multiplies. Thousands of nested brackets
    would take quadratic time; there the last bit of a weight does not matter, and logarithms are summed."""
    depth, deepest = 0, 0
    for _, step in sorted([(first, 1) for first, _, _ in ranges] + [(end, -1) for _, end, _ in ranges]):
        depth += step
        deepest = max(deepest, depth)
    if deepest <= _EXACT_DEPTH:
        for first, end, factor in ranges:
            for i in range(first, end):
                weights[i] *= factor
        return weights
    size = len(weights) + 1
    logs, zeros, signs = [0.0] * size, [0] * size, [0] * size
    for first, end, factor in ranges:
        change = math.log(abs(factor)) if factor else 0.0
        for i, sign in ((first, 1), (end, -1)):
            logs[i] += sign * change
            zeros[i] += sign * (factor == 0)
            signs[i] += sign * (factor < 0)
    log, zero, negative = 0.0, 0, 0
    for i in range(len(weights)):
        log, zero, negative = log + logs[i], zero + zeros[i], negative + signs[i]
        weights[i] *= 0.0 if zero else math.exp(min(log, 700.0)) * (-1 if negative % 2 else 1)
    return weights


def _joined(texts: list[str], weights: list[float], spans: list[tuple[int, int]]) -> Iterator[Piece]:
    start = 0
    for i in range(1, len(texts) + 1):
        if i == len(texts) or weights[i] != weights[start]:
            yield Piece("".join(texts[start:i]), weights[start], (spans[start][0], spans[i - 1][1]))
            start = i

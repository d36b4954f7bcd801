"""Brackets into weights: `(more)`, `[less]`, `(exactly:1.3)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BREAK = -1.0
"""The weight of the piece "BREAK" that ends a chunk."""

_FACTORS = {"(": 1.1, "[": 1 / 1.1}
_OPENERS = {")": "(", "]": "["}
_TOKEN = re.compile(r"\\[()\[\]\\]?|:\s*([+-]?[.\d]+)\s*\)|[()\[\]:]|[^\\()\[\]:]+")
_BREAK = re.compile(r"(?:(?<!\s)\s++)?\bBREAK\b\s*+")

_EXACT_DEPTH = 32
"""Factors are multiplied from the inside out, as A1111 does, to the last bit. In deeper nests, where that takes the
square of the text, each product is built on that of the bracket outside, which may differ in the last bits."""


@dataclass(frozen=True)
class Piece:
    text: str
    weight: float
    span: tuple[int, int]
    """From its first to its last character; the brackets and backslashes around it are not part of it."""


@dataclass(slots=True)
class _Bracket:
    """A bracket that was opened, and the one of its kind outside it. Round and square ones do not see each other."""

    outer: _Bracket | None
    factor: float
    order: tuple[int, int]
    """When its factor is multiplied in, among all."""
    depth: int
    product: float = 1.0
    """Of its own factor and those outside."""


_Run = tuple[str, tuple[int, int], float, _Bracket | None, _Bracket | None]  # the innermost round and square bracket


def pieces(text: str) -> tuple[Piece, ...]:
    """Neighbours of one weight are one piece; there is at least one.

    Source: A1111 prompt_parser.parse_prompt_attention, but for a number that is none, as in `(a:1.2.3)`: A1111 raises
    there, here it is text.
    """
    done: list[Piece] = []
    merged: list[str] = []
    start = end = 0
    weight = 1.0
    for part, span, own, round_, square in _runs(text):
        value = own * 1.0
        for factor in _factors(round_, square):
            value *= factor
        if merged and value != weight:
            done.append(Piece("".join(merged), weight, (start, end)))
            merged = []
        if not merged:
            start, weight = span[0], value
        merged.append(part)
        end = span[1]
    return (*done, Piece("".join(merged), weight, (start, end)))


def _factors(round_: _Bracket | None, square: _Bracket | None) -> Iterator[float]:
    """What a text between these brackets is multiplied by, in turn."""
    if sum(bracket.depth for bracket in (round_, square) if bracket) > _EXACT_DEPTH:
        yield from (bracket.product for bracket in (round_, square) if bracket)
        return
    around = []
    for bracket in (round_, square):
        while bracket:
            around.append(bracket)
            bracket = bracket.outer
    yield from (bracket.factor for bracket in sorted(around, key=lambda bracket: bracket.order))


def _runs(text: str) -> list[_Run]:
    """Texts with their own weights and the innermost brackets around them."""
    runs: list[_Run] = []
    opened: list[_Bracket] = []
    inner: dict[str, _Bracket | None] = {"(": None, "[": None}
    for token, (start, end), number in _tokens(text):
        kind = _OPENERS.get(token[-1]) if number is not None or len(token) == 1 else None
        if token in _FACTORS:
            outer = inner[token]
            # those that stay open come last: round before square, the outermost first
            last = 1 if token == "(" else 2
            inner[token] = _Bracket(outer, _FACTORS[token], (last, start), outer.depth + 1 if outer else 1)
            opened.append(inner[token])
        elif kind and (bracket := inner[kind]):
            bracket.factor = _FACTORS[kind] if number is None else number
            bracket.order = (0, start)
            inner[kind] = bracket.outer
        elif token[0] == "\\":
            runs.append((token[1:], (start, end), 1.0, inner["("], inner["["]))
        else:
            runs.extend((part, span, own, inner["("], inner["["]) for part, span, own in _breaks(token, start))
    for bracket in opened:
        bracket.product = bracket.factor * (bracket.outer.product if bracket.outer else 1.0)
    return runs


def _tokens(text: str) -> Iterator[tuple[str, tuple[int, int], float | None]]:
    """Token, span, and the weight of a `:1.3)`; if that is no number, its text and its bracket are two tokens."""
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        try:
            yield match[0], (start, end), float(match[1]) if match[1] else None
        except ValueError:
            yield text[start : end - 1], (start, end - 1), None
            yield ")", (end - 1, end), None


def _breaks(text: str, offset: int) -> Iterator[tuple[str, tuple[int, int], float]]:
    """A text around the word BREAK, and the word by itself."""
    at = 0
    for match in _BREAK.finditer(text):
        yield text[at : match.start()], (offset + at, offset + match.start()), 1.0
        word = offset + match.start() + match[0].index("BREAK")
        yield "BREAK", (word, word + len("BREAK")), BREAK
        at = match.end()
    yield text[at:], (offset + at, offset + len(text)), 1.0

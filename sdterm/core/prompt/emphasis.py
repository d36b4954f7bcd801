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


@dataclass(slots=True, eq=False)
class Bracket:
    """A bracket that was opened, and the one of its kind outside it. Round and square ones do not see each other."""

    outer: Bracket | None
    start: int
    factor: float
    order: tuple[int, int]
    """When its factor is multiplied in, among all."""
    depth: int
    closer: str | None = None
    """What closes it: `)`, `]`, `:1.3)`; None if nothing does."""
    product: float = 1.0
    """Of its own factor and those outside."""


@dataclass(slots=True, eq=False)
class Run:
    """A text with a weight of its own, 1 or BREAK, and the innermost brackets of each kind around it."""

    text: str
    span: tuple[int, int]
    weight: float
    inner: tuple[Bracket | None, Bracket | None]

    @property
    def depth(self) -> int:
        """How many brackets are around it."""
        return sum(bracket.depth for bracket in self.inner if bracket)

    def around(self) -> list[Bracket]:
        """All brackets around it, in the order in which they close."""
        found = []
        for bracket in self.inner:
            while bracket:
                found.append(bracket)
                bracket = bracket.outer
        return sorted(found, key=lambda bracket: bracket.order)


def pieces(text: str) -> tuple[Piece, ...]:
    """Neighbours of one weight are one piece; there is at least one.

    Source: A1111 prompt_parser.parse_prompt_attention, but for a number that is none, as in `(a:1.2.3)`: A1111 raises
    there, here it is text.
    """
    done: list[Piece] = []
    merged: list[str] = []
    start = end = 0
    weight = 1.0
    for run in read(text)[0]:
        value = weigh(run)
        if merged and value != weight:
            done.append(Piece("".join(merged), weight, (start, end)))
            merged = []
        if not merged:
            start, weight = run.span[0], value
        merged.append(run.text)
        end = run.span[1]
    return (*done, Piece("".join(merged), weight, (start, end)))


def weigh(run: Run) -> float:
    """The weight of a run, its brackets counted in."""
    weight = run.weight
    if run.depth <= _EXACT_DEPTH:
        for bracket in run.around():
            weight *= bracket.factor
    else:
        for inner in filter(None, run.inner):
            weight *= inner.product
    return weight


def read(text: str) -> tuple[list[Run], list[Bracket]]:
    """The runs, and every bracket that was opened."""
    runs: list[Run] = []
    opened: list[Bracket] = []
    inner: dict[str, Bracket | None] = {"(": None, "[": None}
    for token, (start, end), number in _tokens(text):
        kind = _OPENERS.get(token[-1]) if number is not None or len(token) == 1 else None
        if token in _FACTORS:
            outer = inner[token]
            # those that stay open come last: round before square, the outermost first
            last = 1 if token == "(" else 2
            bracket = Bracket(outer, start, _FACTORS[token], (last, start), outer.depth + 1 if outer else 1)
            inner[token] = bracket
            opened.append(bracket)
        elif kind and (closed := inner[kind]):
            closed.factor = _FACTORS[kind] if number is None else number
            closed.order, closed.closer = (0, start), token
            inner[kind] = closed.outer
        elif token[0] == "\\":
            runs.append(Run(token[1:], (start, end), 1.0, (inner["("], inner["["])))
        else:
            around = inner["("], inner["["]
            runs.extend(Run(part, span, weight, around) for part, span, weight in _breaks(token, start))
    for bracket in opened:
        bracket.product = bracket.factor * (bracket.outer.product if bracket.outer else 1.0)
    return runs, opened


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

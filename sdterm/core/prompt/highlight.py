"""Where a prompt's grammar is, for an editor's colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sdterm.core.prompt import emphasis, schedule
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.networks import blank, tags

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Mark:
    """Some characters of one kind. Marks may lie in one another, but never overlap in part.

    more, less: drawn with a weight above or below 1. bracket: `(`, `]`, `:1.3)`. scheduled, alternate: the signs of
    `[a:b:0.5]` and `[a|b]`. network: `<lora:x:1>`. and: the word, and the weight before it. break: the word where it
    ends a chunk. escape: a backslash that is not drawn, and the bracket behind it.
    """

    start: int
    end: int
    kind: str
    weight: float = 1.0
    """Of the text, where the kind is more or less."""


def highlight(text: str, *, negative: bool = False) -> tuple[Mark, ...]:
    """The marks of a text, in its order. Never raises; work grows linearly with the text."""
    marks: list[Mark] = []
    parts = [(0, len(text))]
    if not negative:
        called = tags(text)
        marks += [Mark(*tag.span, "network") for tag in called]
        text = blank(text, called)
        parts = [part.span for part in composition(text)]
        if len(parts) > 1:
            edges = [*parts, (len(text), len(text))]
            between = ((end, start) for (_, end), (start, _) in pairwise(edges))
            marks += [Mark(*word.span(), "and") for gap in between for word in _WORD.finditer(text, *gap)]
    for start, end in parts:
        tree = schedule.parse(text[start:end])
        marks += (Mark(m.start + start, m.end + start, m.kind, m.weight) for m in _part(tree))
    return tuple(sorted(marks, key=lambda mark: (mark.start, -mark.end)))


def _part(tree: schedule.Tree) -> Iterator[Mark]:
    yield from _signs(tree.nodes)
    runs, brackets = emphasis.read(schedule.drawn(tree))
    for bracket in brackets:
        yield Mark(bracket.start, bracket.start + 1, "bracket")
        if bracket.closer:
            yield Mark(bracket.order[1], bracket.order[1] + len(bracket.closer), "bracket")
    for run in runs:
        start, end = run.span
        weight = emphasis.weigh(run)
        if run.weight == emphasis.BREAK == weight:
            yield Mark(start, end, "break")
        elif weight != 1 and run.text.replace("\0", " ").strip():
            yield Mark(start, end, "more" if weight > 1 else "less", weight)
        if end - start > len(run.text):
            yield Mark(start, end, "escape")


def _signs(nodes: schedule.Nodes) -> Iterator[Mark]:
    """The brackets, colons, bars and numbers of what is scheduled: all of its span that no text of it covers."""
    rest = [*nodes]
    while rest:
        node = rest.pop()
        match node:
            case schedule.Group(nodes=inner):
                rest += inner
            case schedule.Scheduled(span, before, after):
                inner = (*(before or ()), *after)
                yield from _between(span, inner, "scheduled")
                rest += inner
            case schedule.Alternate(span, options):
                inner = tuple(node for option in options for node in option)
                yield from _between(span, inner, "alternate")
                rest += inner


def _between(span: tuple[int, int], inner: schedule.Nodes, kind: str) -> Iterator[Mark]:
    at = span[0]
    for node in inner:
        start, end = node.span
        if start > at:
            yield Mark(at, start, kind)
        at = max(at, end)
    if span[1] > at:
        yield Mark(at, span[1], kind)

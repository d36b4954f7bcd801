"""Text that changes while it is drawn: `[from:to:when]` and `[a|b]` become one text per stretch of steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

TOKEN = re.compile(r"(?:[^\\\[\]():|]|\\.)+|[\[\]():|]|\\")
NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_OPENERS = {")": "(", "]": "["}


class Text(NamedTuple):
    span: tuple[int, int]


class Group(NamedTuple):
    """Brackets that belong together but are emphasis, none of a schedule's business."""

    span: tuple[int, int]
    nodes: Nodes


class Scheduled(NamedTuple):
    """`[before:after:when]`, or `[after:when]`, where before is None."""

    span: tuple[int, int]
    before: Nodes | None
    after: Nodes
    when: str

    def step(self, steps: int, old: bool, first_pass_steps: int | None) -> int:
        """The last step that has `before`. A number with a dot is a share of the steps, another counts steps; in a
        second pass both go on from the first. `old`: below 1 it is a share, else it counts, in each pass alike."""
        value = float(self.when)
        again = first_pass_steps is not None
        if old:
            value = value * steps if value < 1 else value
        elif "." in self.when:
            value = (value - again) * steps
        else:
            value -= first_pass_steps or 0
        return int(max(min(value, steps), -1))  # a number may be too large for int()


class Alternate(NamedTuple):
    """`[a|b|c]`."""

    span: tuple[int, int]
    options: tuple[Nodes, ...]


Node = Text | Group | Scheduled | Alternate
Nodes = tuple[Node, ...]


@dataclass(frozen=True)
class Tree:
    """A text, parsed."""

    text: str
    nodes: Nodes
    literal: tuple[int, int] | None = None
    """Why the text does not parse and is taken as it stands: the span of what is to blame."""

    def walk(self) -> Iterator[Node]:
        """Every node, outer ones first, in the text's order."""
        rest = [iter(self.nodes)]
        while rest:
            node = next(rest[-1], None)
            if node is None:
                rest.pop()
                continue
            yield node
            match node:
                case Group(_, nodes):
                    rest.append(iter(nodes))
                case Scheduled(_, before, after, _):
                    rest += [iter(after), iter(before or ())]
                case Alternate(_, options):
                    rest += map(iter, reversed(options))


def drawn(tree: Tree) -> str:
    """The text with NUL in place of every sign of a schedule: all that is ever drawn, where it stands."""
    parts: list[str] = []
    at = 0
    for node in tree.walk():
        if isinstance(node, Text):
            start, end = node.span
            parts += ["\0" * (start - at), tree.text[start:end]]
            at = end
    return "".join(parts).ljust(len(tree.text), "\0")


@dataclass(frozen=True)
class Entry:
    until: int
    """The last step, from 1, that has this text."""
    text: str


def schedule(text: str, steps: int, *, old: bool = False, first_pass_steps: int | None = None) -> tuple[Entry, ...]:
    """The texts of one pass in order; the last has `until == steps`. first_pass_steps: set in the second pass of a
    hires fix. Source: A1111 prompt_parser.get_learned_conditioning_prompt_schedules."""
    return expand(parse(text), steps, old=old, first_pass_steps=first_pass_steps)


def expand(tree: Tree, steps: int, *, old: bool = False, first_pass_steps: int | None = None) -> tuple[Entry, ...]:
    """As `schedule`, for a text that is parsed."""
    switches = {steps}
    when: dict[tuple[int, int], int] = {}
    for node in tree.walk():
        if isinstance(node, Scheduled):
            when[node.span] = step = node.step(steps, old, first_pass_steps)
            if step >= 1:
                switches.add(step)
        elif isinstance(node, Alternate):
            switches.update(range(1, steps + 1))
    return tuple(
        Entry(step, "".join(tree.text[start:end] for start, end in _spans(tree, step, when)))
        for step in sorted(switches)
    )


def _spans(tree: Tree, step: int, when: dict[tuple[int, int], int]) -> Iterator[tuple[int, int]]:
    """What of the text is drawn in one step."""
    rest = [iter(tree.nodes)]
    while rest:
        node = next(rest[-1], None)
        match node:
            case None:
                rest.pop()
            case Text(span):
                yield span
            case Group(_, nodes):
                rest.append(iter(nodes))
            case Scheduled(span, before, after, _):
                rest.append(iter((before or ()) if step <= when[span] else after))
            case Alternate(_, options):
                rest.append(iter(options[(step - 1) % len(options)]))


@dataclass
class _Open:
    """An open bracket and what has been read behind it."""

    start: int
    nodes: list[Node]
    cuts: list[tuple[int, str, int]] = field(default_factory=list)
    """The colons and bars directly inside: position, character, number of nodes before it."""


def parse(text: str) -> Tree:
    """A1111's grammar, in one pass. Brackets that are no node are text; a bar that is in none, or a backslash with
    nothing to escape, makes the whole text literal."""
    top = _Open(0, [])
    stack = [top]
    mixed: tuple[int, int] | None = None  # the first pair of brackets with a bar that is no node
    for match in TOKEN.finditer(text):
        token, (start, end) = match[0], match.span()
        inner = stack[-1]
        if token in "([":
            stack.append(_Open(start, [Text((start, end))]))
            continue
        if token in ":|":
            inner.cuts.append((start, token, len(inner.nodes)))
        elif token == "\\":
            return _literal(text, (start, end))
        inner.nodes.append(Text((start, end)))
        if token in _OPENERS and len(stack) > 1:
            node = _node(text, inner, end) if text[inner.start] == _OPENERS[token] else None
            if node:
                stack.pop()
                stack[-1].nodes.append(node)
            else:  # it is text, and so is every bracket around it
                if not mixed and any(mark == "|" for _, mark, _ in inner.cuts):
                    mixed = inner.start, end
                _flatten(stack)
    _flatten(stack)
    for at, mark, _ in top.cuts:
        if mark == "|":
            return _literal(text, mixed or (at, at + 1))
    return Tree(text, tuple(top.nodes))


def _literal(text: str, reason: tuple[int, int]) -> Tree:
    return Tree(text, (Text((0, len(text))),), reason)


def _flatten(stack: list[_Open]) -> None:
    """Brackets that stay open are text of the outermost level."""
    top = stack[0]
    for inner in stack[1:]:
        top.nodes += inner.nodes
        top.cuts += inner.cuts
    del stack[1:]


def _node(text: str, inner: _Open, end: int) -> Node | None:
    """What a pair of brackets is, if anything."""
    span, marks = (inner.start, end), {mark for _, mark, _ in inner.cuts}
    if text[inner.start] == "(":
        return Group(span, tuple(inner.nodes)) if not marks or [mark for _, mark, _ in inner.cuts] == [":"] else None
    if not marks:
        return Group(span, tuple(inner.nodes))
    bounds = [0, *(index for _, _, index in inner.cuts), len(inner.nodes) - 1]
    parts = [tuple(inner.nodes[left + 1 : right]) for left, right in pairwise(bounds)]
    if marks == {"|"}:
        return Alternate(span, tuple(parts))
    number = NUMBER.fullmatch(text, inner.cuts[-1][0] + 1, end - 1)
    if marks == {":"} and len(parts) <= 3 and number:
        return Scheduled(span, parts[0] if len(parts) == 3 else None, parts[-2], number[1])
    return None

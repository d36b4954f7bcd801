"""Scheduling: `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b|c]`, into the text of each step.

A1111 reads these with an ambiguous grammar (prompt_parser.schedule_parser); this is the same language, in one pass.
Brackets that make no construct are text, and so is what they stand in; a `|` that belongs to no alternation makes the
whole prompt text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

_TOKEN = re.compile(r"[\[\]():|]|(?:[^\\\[\]():|]|\\.)+|\\")  # the last: a backslash with nothing to escape
_NUMBER = re.compile(r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Entry:
    """A prompt's text up to and including step `until`."""

    until: int
    text: str


@dataclass(frozen=True)
class Node:
    """A construct. `options`: before and after of a switch, or the alternatives; each is text and constructs."""

    kind: Literal["switch", "alternate", "group"]
    options: "tuple[tuple[Item, ...], ...]"
    when: str
    """A switch's number, as written; a group's bracket."""
    span: tuple[int, int]


Item = str | Node


@dataclass(frozen=True)
class Rejected:
    """A pair of brackets that is no construct, and the separators it has."""

    separators: tuple[str, ...]
    span: tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """A prompt as text and constructs, in order."""

    items: tuple[Item, ...]
    rejected: tuple[Rejected, ...] = ()
    literal: bool = False
    """All of it is text, whatever it looks like: a `|` or a backslash stands where none may."""


@dataclass
class _Open:
    """A bracket that is not closed yet: its items so far, cut at each separator."""

    bracket: str
    start: int
    segments: list[list[Item]] = field(default_factory=lambda: [[]])
    separators: list[str] = field(default_factory=list)

    def as_text(self) -> list[Item]:
        """What it is if it is no construct."""
        items: list[Item] = [self.bracket, *self.segments[0]]
        for separator, segment in zip(self.separators, self.segments[1:], strict=True):
            items += [separator, *segment]
        return items


def parse(text: str) -> Tree:
    """Read a prompt's constructs."""
    top: list[Item] = []
    rejected: list[Rejected] = []
    stack: list[_Open] = []

    def give_up() -> None:
        """Nothing that is open can become a construct any more, since it holds what only the top may hold."""
        for opened in stack:
            top.extend(opened.as_text())
        stack.clear()

    for match in _TOKEN.finditer(text):
        token = match[0]
        here = stack[-1].segments[-1] if stack else top
        if token == "\\":
            return Tree((text,), literal=True)
        if token in "([":
            stack.append(_Open(token, match.start()))
        elif token in ")]":
            if stack and stack[-1].bracket == {")": "(", "]": "["}[token]:
                opened = stack.pop()
                node = _construct(opened, (opened.start, match.end()))
                if node:
                    (stack[-1].segments[-1] if stack else top).append(node)
                    continue
                rejected.append(Rejected(tuple(opened.separators), (opened.start, match.end())))
                give_up()
                top.extend(opened.as_text())
            else:
                give_up()
            top.append(token)
        elif token in ":|" and stack:
            stack[-1].separators.append(token)
            stack[-1].segments.append([])
        else:
            here.append(token)
    give_up()
    if "|" in top:
        return Tree((text,), tuple(rejected), literal=True)
    return Tree(tuple(top), tuple(rejected))


def _construct(opened: _Open, span: tuple[int, int]) -> Node | None:
    segments = tuple(map(tuple, opened.segments))
    if opened.bracket == "(":
        return Node("group", segments, "(", span) if opened.separators in ([], [":"]) else None
    if not opened.separators:
        return Node("group", segments, "[", span)
    if "|" in opened.separators:
        return Node("alternate", segments, "", span) if ":" not in opened.separators else None
    *options, last = segments
    number = _NUMBER.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
    if not number or len(options) > 2:
        return None
    before, after = ((), options[0]) if len(options) == 1 else options
    return Node("switch", (before, after), number[1], span)


def schedule(text: str, steps: int, *, old: bool = False, first_pass_steps: int | None = None) -> tuple[Entry, ...]:
    """The texts of a prompt over `steps` steps. Source: A1111 get_learned_conditioning_prompt_schedules.

    old: numbers below 1 are fractions, others steps, as before 1.6. first_pass_steps: for a second pass over the
    image: whole numbers go on counting after the first pass's steps, fractions after 1.0.
    """
    tree = parse(text).items
    second = first_pass_steps is not None and not old

    def at(when: str) -> int:
        value = float(when)
        if old:
            value = value * steps if value < 1 else value
        elif "." in when:
            value = (value - (1.0 if second else 0.0)) * steps
        else:
            value -= (first_pass_steps or 0) if second else 0
        return int(min(max(value, -1), steps))

    switches: dict[str, int] = {}
    alternates = False
    for node in nodes(tree):
        if node.kind == "switch":
            switches[node.when] = at(node.when)
        alternates |= node.kind == "alternate"
    ends = {steps, *(end for end in switches.values() if end >= 1)}
    if alternates:
        ends.update(range(1, steps + 1))
    return tuple(Entry(end, _text(tree, end, switches)) for end in sorted(ends))


def nodes(tree: Sequence[Item]) -> Iterator[Node]:
    """Every construct of a tree, outer ones first."""
    stack = list(reversed(tree))
    while stack:
        item = stack.pop()
        if isinstance(item, Node):
            yield item
            stack.extend(inner for option in reversed(item.options) for inner in reversed(option))


def _text(tree: Sequence[Item], step: int, switches: dict[str, int]) -> str:
    """The tree as text at a step, counted from 1."""
    shown: list[str] = []
    stack: list[Item] = list(reversed(tree))
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            shown.append(item)
            continue
        match item.kind:
            case "switch":
                stack.extend(reversed(item.options[step > switches[item.when]]))
            case "alternate":
                stack.extend(reversed(item.options[(step - 1) % len(item.options)]))
            case "group":
                shown.append(item.when)
                stack.append(")" if item.when == "(" else "]")
                for n, option in reversed(list(enumerate(item.options))):
                    stack.extend(reversed(option))
                    if n:
                        stack.append(":")
    return "".join(shown)

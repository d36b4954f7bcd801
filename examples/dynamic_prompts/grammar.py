"""The grammar: text → a tree of texts, choices and wildcards.

sequence   = (text | choice | wildcard)*
choice     = "{" [number "$$" [separator "$$"]] option ("|" option)* "}"
number     = n | [low] "-" [high]
option     = [weight "::"] sequence
wildcard   = "__" name "__"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

from sdterm.hooks import PluginError

DEEPEST = 32
"""Braces within braces."""

_WILDCARD = re.compile(r"__((?!_)[^\s,{}|()$<>:]+?)__")
_COUNT = re.compile(r"\s*(?:(\d{1,3})|(\d{0,3})-(\d{0,3}))\$\$")
_SEPARATOR = re.compile(r"([^{}|$]*)\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})::")
_UNSUPPORTED = re.compile(r"\$\{|__[^\s,{}|()$<>:]+\(")


@dataclass(frozen=True)
class Wildcard:
    name: str


@dataclass(frozen=True)
class Choice:
    """From `low` to `high` of the options, joined by the separator."""

    options: tuple[Option, ...]
    low: int = 1
    high: int = 1
    separator: str = ", "


@dataclass(frozen=True)
class Option:
    content: Sequence
    weight: float = 1.0


Node = Union[str, Wildcard, Choice]  # noqa: UP007  # a name for annotations, which refer to each other
Sequence = tuple[Node, ...]


def parse(text: str) -> Sequence:
    """Raises PluginError with a sentence for braces without their partners, and for what this does not know."""
    if found := _UNSUPPORTED.search(text):
        raise PluginError(f"Dynamic prompts knows no variables and no parameters: {text[found.start() :][:40]!r}.")
    sequence, end = _sequence(text, 0, 0)
    if end < len(text):
        raise PluginError(f"The prompt has a brace without its partner: {text[end:][:40]!r}.")
    return sequence


def parse_option(text: str) -> Option:
    """A line of a wildcard file: an option, the weight before it."""
    weight = _WEIGHT.match(text)
    return Option(parse(text[weight.end() if weight else 0 :].strip()), float(weight[1]) if weight else 1.0)


def _sequence(text: str, at: int, depth: int) -> tuple[Sequence, int]:
    """The sequence from `at` to where it ends: a `}`, the text's end, or within braces a `|`."""
    nodes: list[Node] = []
    begin = at
    while at < len(text) and text[at] != "}" and not (depth and text[at] == "|"):
        if text[at] == "{":
            nodes.append(text[begin:at])
            choice, at = _choice(text, at, depth + 1)
            nodes.append(choice)
            begin = at
        elif wildcard := _WILDCARD.match(text, at):
            nodes += [text[begin:at], Wildcard(wildcard[1])]
            begin = at = wildcard.end()
        else:
            at += 1
    return tuple(node for node in (*nodes, text[begin:at]) if node != ""), at


def _choice(text: str, at: int, depth: int) -> tuple[Choice, int]:
    if depth > DEEPEST:
        raise PluginError(f"The prompt has more than {DEEPEST} braces within each other.")
    opened, at = at, at + 1
    low = high = 1
    separator = ", "
    if count := _COUNT.match(text, at):
        exact, least, most = count.groups()
        low, high = (int(exact), int(exact)) if exact else (int(least or 1), int(most or 999))
        at = count.end()
        if given := _SEPARATOR.match(text, at):
            separator, at = given[1], given.end()
    options: list[Option] = []
    while True:
        weight = _WEIGHT.match(text, at)
        content, at = _sequence(text, weight.end() if weight else at, depth)
        options.append(Option(_stripped(content), float(weight[1]) if weight else 1.0))
        if at == len(text):
            raise PluginError(f"The prompt has a brace without its partner: {text[opened:][:40]!r}.")
        at += 1
        if text[at - 1] == "}":
            return Choice(tuple(options), min(low, high), max(low, high), separator), at


def _stripped(sequence: Sequence) -> Sequence:
    """Without the white space that stands around an option."""
    if sequence and isinstance(sequence[0], str):
        sequence = (sequence[0].lstrip(), *sequence[1:])
    if sequence and isinstance(sequence[-1], str):
        sequence = (*sequence[:-1], sequence[-1].rstrip())
    return sequence

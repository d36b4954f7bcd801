"""Prompts of models that read them as plain words: what A1111's syntax comes to there."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from sdterm.core.prompt import schedule
from sdterm.core.prompt.lint import Bases, Lint, lost_tags, unknown_networks
from sdterm.core.prompt.networks import blank, tags
from sdterm.hooks import TokenCount

_WEIGHT = re.compile(r"\(([^()]*?)\s*:\s*[+-]?\d*\.?\d+\s*\)")
_WORDS = {"AND": "joins no prompts", "BREAK": "begins no chunk"}
_MANY = 100  # traps of one kind
_WORD = re.compile(r"\b(AND|BREAK)\b")


def plain_words(
    text: str, *, negative: bool = False, networks: Mapping[str, Bases] | None = None, counts: Iterable[TokenCount] = ()
) -> tuple[Lint, ...]:
    """Where a prompt says in A1111's syntax what such a model only reads as words, and what is cut off, in the text's
    order. networks: the names that are there for `lora`; counts: how its text encoders read it."""
    called = tags(text)
    found = [*(lost_tags(text) if negative else unknown_networks(called, networks))]
    text = blank(text, called)
    rules = (_weights(text), _schedules(text), _operators(text), _cut(text, counts))
    found += [lint for rule in rules for lint in islice(rule, _MANY)]
    return tuple(sorted(found, key=lambda lint: lint.span))


def _cut(text: str, counts: Iterable[TokenCount]) -> Iterator[Lint]:
    """Only by the encoder that reads most: the others see a beginning of long prompts as a matter of course."""
    for most in islice(counts, 1):
        if most.tokens > most.room:
            message = f"{most.encoder} reads {most.room} tokens, and this prompt has {most.tokens}: the end is cut off."
            yield Lint((most.cut or 0, len(text)), message, None)


def _weights(text: str) -> Iterator[Lint]:
    for match in _WEIGHT.finditer(text):
        message = "This model reads prompts as plain words: a weight is drawn as text."
        yield Lint(match.span(), message, match[1])


def _schedules(text: str) -> Iterator[Lint]:
    for node in schedule.parse(text).walk():
        if isinstance(node, schedule.Scheduled | schedule.Alternate):
            message = "This model reads prompts as plain words, the same at every step: nothing is scheduled."
            yield Lint(node.span, message, None)


def _operators(text: str) -> Iterator[Lint]:
    for match in _WORD.finditer(text):
        message = f"This model reads prompts as plain words: {match[1]} {_WORDS[match[1]]}."
        yield Lint(match.span(), message, match[1].lower() if match[1] == "AND" else "")

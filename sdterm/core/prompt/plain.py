"""Prompts of models that read them as plain words: what A1111's syntax comes to there."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from sdterm.core.prompt import schedule
from sdterm.core.prompt.lint import Bases, Lint, lost_tags, unknown_networks
from sdterm.core.prompt.networks import blank, tags
from sdterm.hooks import TokenCount
from sdterm.messages import message

_WEIGHT = re.compile(r"\(([^()]*?)\s*:\s*[+-]?\d*\.?\d+\s*\)")
_WORDS = {"AND": message("is an ordinary word here"), "BREAK": message("is an ordinary word here")}
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
            said = message(
                "{encoder} reads {room} tokens, but this prompt has {tokens}: the end is cut off.",
                encoder=most.encoder,
                room=most.room,
                tokens=most.tokens,
            )
            yield Lint((most.cut or 0, len(text)), said, None)


def _weights(text: str) -> Iterator[Lint]:
    for match in _WEIGHT.finditer(text):
        said = message("This model reads prompts as plain text: a weight becomes part of the text.")
        yield Lint(match.span(), said, match[1])


def _schedules(text: str) -> Iterator[Lint]:
    for node in schedule.parse(text).walk():
        if isinstance(node, schedule.Scheduled | schedule.Alternate):
            said = message(
                "This model reads prompts as plain text, the same at every step: prompt editing has no effect."
            )
            yield Lint(node.span, said, None)


def _operators(text: str) -> Iterator[Lint]:
    for match in _WORD.finditer(text):
        said = message(
            "This model reads prompts as plain text: {word} {effect}.", word=match[1], effect=_WORDS[match[1]]
        )
        yield Lint(match.span(), said, match[1].lower() if match[1] == "AND" else "")

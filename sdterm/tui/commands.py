"""What the palette finds: its rows, and which of them match what was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sdterm.core.names import normal


@dataclass(frozen=True)
class Command:
    """A row of the palette."""

    group: str
    name: str
    about: str
    run: Callable[[], object]
    words: str = ""
    """More words by which it is found."""
    key: str = ""
    """As it is written on a screen."""
    is_current: bool = False
    try_out: Callable[[], object] | None = None
    """Shows what choosing it would do, while the cursor is on it."""


def found(commands: Iterable[Command], text: str) -> list[Command]:
    """Those that have every word of the text, the best ones first; equally good ones stay in their order."""
    words = normal(text).split()
    scored = [(_score(command, words), command) for command in commands]
    return [command for score, command in sorted(scored, key=lambda pair: -pair[0]) if score > 0]


def _score(command: Command, words: list[str]) -> float:
    """0 if one of the words is nowhere in it."""
    name = normal(command.name)
    if name == " ".join(words):
        return 100.0
    places = (
        (name, 6, 4),
        (normal(command.words), 6, 3),
        (normal(command.group), 2.5, 2),
        (normal(command.about), 1.5, 1),
    )
    scores = [max(_hit(word, *place) for place in places) for word in words]
    begins = bool(words) and name.split()[: len(words)] == words
    return sum(scores) / len(scores) + begins if all(scores) else 0.0


def _hit(word: str, text: str, whole: float, begun: float) -> float:
    """How well one word is found in a text: as a word of it, as the beginning of one, or inside one."""
    there = text.split()
    if word in there:
        return whole
    if any(other.startswith(word) for other in there):
        return begun
    return 0.5 if word in text and (len(word) > 2 or not word.isascii()) else 0.0

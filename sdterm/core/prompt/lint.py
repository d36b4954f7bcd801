"""What parses, but does not do what it looks like."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Lint:
    span: tuple[int, int]
    message: str
    fix: str | None
    """The whole text, mended; None where only the author can know."""


def lint(text: str, *, negative: bool = False, networks: Collection[str] | None = None) -> tuple[Lint, ...]:
    """The traps in a text, in its order. networks: the names that tags may call; None if they are not known."""
    return ()

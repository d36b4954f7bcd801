"""Reading prompts beside the interface: what the host finds in them, and what a word may become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sdterm.core.names import normal
from sdterm.core.numbers import whole_number
from sdterm.tui import calls
from sdterm.tui.calls import HostCall

if TYPE_CHECKING:
    from sdterm.api import PromptReading
    from sdterm.core.prompt.completion import Tag, Tags
    from sdterm.tui.networks import Networks

T = TypeVar("T")

TAGS = Path("tags")
_STYLES = 3  # offered at once
_SHORTEST = 2  # characters of a word before anything is offered unasked


class Asker(Protocol):
    """Who asks the host."""

    async def ask(self, call: HostCall[T]) -> T | None: ...


class PromptReader:
    """Reads the form's prompts."""

    def __init__(
        self,
        root: Path,
        values: Callable[[], Mapping[str, Any]],
        styles: Callable[[], Sequence[str]],
        networks: Callable[[], Networks],
        asker: Asker,
    ) -> None:
        self._root, self._values, self._asker = root, values, asker
        self._styles, self._networks = styles, networks

    async def read(self, text: str, *, negative: bool) -> PromptReading | None:
        """A prompt's traps and tokens; None if the host cannot say now."""
        from sdterm.api import Words

        values = self._values()
        model, steps = values.get("model"), str(values["steps"])
        count = whole_number(steps)
        count = count if 0 < count <= 1000 else 20
        try:
            words = Words(text=text, negative=negative, model=model and str(model)[:4096], steps=count)
        except ValueError:  # too long a text is told when it is to be drawn
            return None
        return await self._asker.ask(calls.reading(words))

    async def complete(self, before: str, word: str, *, asked: bool) -> list[Tag]:
        """Styles, networks, embeddings and tags that a word may become that stands behind that text."""
        if word.strip() and len(word) < _SHORTEST and not asked:
            return []
        networks = await asyncio.to_thread(self._networks().complete, before, word)
        if not word.strip() or word.startswith("<"):
            return networks
        tags = await asyncio.to_thread(lambda: self._tags.complete(word))
        return [*self._named_styles(word), *networks, *tags]

    def _named_styles(self, word: str) -> Iterator[Tag]:
        from sdterm.core.prompt.completion import Tag

        begun = normal(word)
        names = [name for name in self._styles() if begun and normal(name).startswith(begun)]
        yield from (Tag(name, is_style=True) for name in names[:_STYLES])

    @cached_property
    def _tags(self) -> Tags:
        from sdterm.core.prompt.completion import read_tags

        return read_tags(self._root / TAGS)

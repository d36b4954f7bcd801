"""Reading prompts beside the interface: what the host finds in them, and what a word may become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.config import Settings
from sdterm.tui.link import Link

if TYPE_CHECKING:
    from sdterm.core.jobs import PromptReading
    from sdterm.core.tags import Tag, Tags

TAGS = Path("tags")
_SHORTEST = 2  # characters of a word before anything is offered unasked


class Reader:
    """Reads the form's prompts."""

    def __init__(self, settings: Settings, link: Link, values: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._link, self._values = settings, link, values

    async def read(self, text: str, *, negative: bool) -> PromptReading | None:
        """A prompt's traps and tokens; None if the host cannot say now."""
        from sdterm.client import HostError, RefusedError
        from sdterm.core.jobs import Words

        values = self._values()
        model, steps = values.get("model"), str(values["steps"])
        count = int(steps) if steps.isdecimal() and 0 < int(steps) <= 1000 else 20
        try:
            words = Words(text=text, negative=negative, model=model and str(model)[:4096], steps=count)
            return await self._link.call(lambda host: host.read_prompt(words))
        except (HostError, RefusedError, ValueError):  # too long a text is told when it is to be drawn
            return None

    async def complete(self, word: str, *, asked: bool) -> list[Tag]:
        """Tags and networks that the word may become."""
        if not word.strip() or (len(word) < _SHORTEST and not asked):
            return []
        return await asyncio.to_thread(self._complete, word)

    def _complete(self, word: str) -> list[Tag]:
        tags = self._networks if word.startswith("<") else self._tags
        return tags.complete(word)

    @cached_property
    def _tags(self) -> Tags:
        from sdterm.core.tags import read_tags

        return read_tags(self._settings.root / TAGS)

    @cached_property
    def _networks(self) -> Tags:
        from sdterm.core.dataroot import HYPERNETWORKS, LORAS
        from sdterm.core.library import file_stems
        from sdterm.core.tags import Tag, Tags

        folders = {"lora": LORAS, "hypernet": HYPERNETWORKS}
        names = {kind: file_stems(self._settings.root / folder) for kind, folder in folders.items()}
        return Tags([Tag(f"<{kind}:{name}:1>") for kind, found in names.items() for name in found])

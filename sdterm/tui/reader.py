"""Reading prompts beside the interface: tokens, traps, and what a word may become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.core.config import Settings

if TYPE_CHECKING:
    from sdterm.core.prompt.lint import Lint
    from sdterm.core.tags import Tag, Tags
    from sdterm.hooks import ModelFamily

TAGS = Path("tags")
_SHORTEST = 2  # characters of a word before anything is offered unasked


@dataclass(frozen=True)
class Read:
    """What was found in a prompt."""

    lints: tuple[Lint, ...]
    counts: str
    """Tokens of each chunk over what chunks hold: `75+12/150`."""


class Reader:
    """Everything that reading a prompt needs, got when it is first needed, in threads."""

    def __init__(self, settings: Settings, values: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._values = settings, values
        self._families: dict[str | None, ModelFamily | None] = {}

    async def read(self, text: str, *, negative: bool) -> Read:
        """Its traps and its tokens."""
        values = self._values()
        return await asyncio.to_thread(self._read, text, negative, values.get("model"), values.get("steps"))

    async def complete(self, word: str, *, asked: bool) -> list[Tag]:
        """Tags, styles and networks that the word may become."""
        if not word.strip() or (len(word) < _SHORTEST and not asked):
            return []
        return await asyncio.to_thread(self._complete, word)

    def _read(self, text: str, negative: bool, model: str | None, steps: object) -> Read:
        from sdterm.core.prompt.reading import read_prompt

        reading = read_prompt(
            text,
            int(steps) if str(steps).isdecimal() and 0 < int(str(steps)) <= 1000 else 20,  # type: ignore[call-overload]
            negative=negative,
            networks=self._networks,
            embeddings=self._embeddings,
            family=self._family(model),
        )
        variants = [variant for part in reading.parts for variant in part.schedule]
        most = max(variants, key=lambda variant: sum(chunk.count for chunk in variant.chunks), default=None)
        chunks = most.chunks if most else ()
        room = sum(len(chunk.tokens) - 2 for chunk in chunks)
        return Read(reading.lint, f"{'+'.join(str(chunk.count) for chunk in chunks)}/{room}" if chunks else "")

    def _complete(self, word: str) -> list[Tag]:
        tags = self._network_tags if word.startswith("<") else self._tags
        return tags.complete(word)

    def _family(self, model: str | None) -> ModelFamily | None:
        if model not in self._families:
            from sdterm.core.library import ModelFileError, library_of
            from sdterm.core.names import UnknownNameError
            from sdterm.core.plan import recognise
            from sdterm.hooks import PluginError

            try:
                checkpoint = library_of(self._settings).find(model)
                self._families[model] = recognise(checkpoint, self._plugins)[0]
            except (ModelFileError, UnknownNameError, PluginError):
                self._families[model] = None
        return self._families[model]

    @cached_property
    def _plugins(self) -> Any:
        from sdterm.core.registry import load_plugins

        return load_plugins(None, third_party=False)  # a front end runs no stranger's code

    @cached_property
    def _tags(self) -> Tags:
        from sdterm.core.tags import read_tags

        return read_tags(self._settings.root / TAGS)

    @cached_property
    def _networks(self) -> Mapping[str, list[str]]:
        from sdterm.core.dataroot import HYPERNETWORKS, LORAS
        from sdterm.core.library import file_stems

        root = self._settings.root
        return {"lora": file_stems(root / LORAS), "hypernet": file_stems(root / HYPERNETWORKS)}

    @cached_property
    def _embeddings(self) -> list[str]:
        from sdterm.core.dataroot import EMBEDDINGS
        from sdterm.core.library import file_stems

        return file_stems(self._settings.root / EMBEDDINGS)

    @cached_property
    def _network_tags(self) -> Tags:
        from sdterm.core.tags import Tag, Tags

        return Tags([Tag(f"<{kind}:{name}:1>") for kind, names in self._networks.items() for name in names])

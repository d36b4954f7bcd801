"""The prompts of before, each with what was drawn of it last."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import OptionList

from sdterm.tui import calls
from sdterm.tui.history import Entry
from sdterm.tui.language import tr
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.pick import Pick

if TYPE_CHECKING:
    from sdterm.api import Picture

_WORDS = 24  # of a prompt, by which its pictures are looked for
_LOOKED_AT = 20  # pictures with those words
_REST = 0.1  # seconds on a prompt before its picture is asked for
_NARROW = 60  # columns of a terminal that has no room for pictures


class PickPrompt(Pick):
    """Choose one of these prompts."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(tr("Prompts of before"), [entry.prompt.replace("\n", " ") for entry in entries])
        self._entries = entries

    def beside(self, options: OptionList) -> Iterable[Widget]:
        if self.app.size.width < _NARROW:
            yield options
        else:
            view = PictureView(mode=self.shell.picture_mode())
            yield Horizontal(options, view, classes="with-picture")

    def look_at(self, number: int) -> None:
        self._show_picture(self._entries[number])

    @work(group="picture", exclusive=True)
    async def _show_picture(self, entry: Entry) -> None:
        await asyncio.sleep(_REST)
        picture = await self._drawn(entry)
        data = None
        if picture:
            data = await self.ask(calls.thumbnail(picture.id, 256))
        for view in self.query(PictureView):
            view.show(data, caption=str(picture.id) if picture else tr("no image"))

    async def _drawn(self, entry: Entry) -> Picture | None:
        """The newest picture of a prompt; rather one with its negative prompt, too."""
        from sdterm.core.infotext.grammar import parse

        words = re.findall(r"\w+", entry.prompt)[:_WORDS]
        page = await self.ask(calls.pictures(f'"{" ".join(words)}"' if words else "", limit=_LOOKED_AT))
        drawn = [(picture, parse(picture.infotext)) for picture in page.pictures if not picture.missing] if page else []
        same = [(picture, said) for picture, said in drawn if said.prompt.strip() == entry.prompt.strip()]
        best = [picture for picture, said in same if said.negative_prompt.strip() == entry.negative.strip()]
        return next(iter([*best, *(picture for picture, _ in same)]), None)

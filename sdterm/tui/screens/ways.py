"""Choose how pictures are shown: which ways there are, which one is used, and why each can or cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import OptionList, Static

from sdterm.core.text import printable
from sdterm.tui.language import tr
from sdterm.tui.picture.support import Protocol, Terminal, support, verdicts
from sdterm.tui.screens.pick import Pick

WAYS: tuple[Protocol, ...] = ("kitty", "iterm", "sixel", "sextant", "quadrant", "half", "ascii", "text", "off")
"""The finest first."""
CHOICES: tuple[Protocol | Literal["auto"], ...] = ("auto", *WAYS)


class PickWay(Pick):
    """One of `CHOICES`, by its number."""

    def __init__(self, terminal: Terminal, setting: Protocol | Literal["auto"]) -> None:
        """setting: what is chosen now."""
        best, found = support(terminal, among_text=True), verdicts(terminal, among_text=True)
        used = support(terminal, setting, among_text=True).protocol
        self._whys = [best.reason, *(found[way].why for way in WAYS)]
        rows = ["auto        " + tr("the best here: {protocol}", protocol=best.protocol)]
        for way in WAYS:
            now = tr("used now") if way == used else "" if found[way].can else tr("unavailable")
            rows.append(f"{way:<10}  {now}".rstrip())
        super().__init__(tr("How images are shown"), rows, chosen=CHOICES.index(setting))

    def beside(self, options: OptionList) -> Iterable[Widget]:
        yield options
        yield Static(id="why", markup=False)

    @on(OptionList.OptionHighlighted)
    def _tell_why(self) -> None:
        at = self.query_one(OptionList).highlighted  # the event may be of rows that are gone
        self.query_one("#why", Static).update(
            Text(printable(self._whys[self._shown[at]], 400) if at is not None else "")
        )

"""Which columns a list has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from sdterm.tui.language import tr
from sdterm.tui.widgets.rows import Options


class Columns(ModalScreen[tuple[str, ...] | None]):
    """The names of the columns that are wanted, in their order; None for Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("space,x", "switch", show=False),
        Binding("K,shift+up,minus,left", "move(-1)", show=False),
        Binding("J,shift+down,plus,right", "move(1)", show=False),
        Binding("j", "go(1)", show=False),
        Binding("k", "go(-1)", show=False),
    ]

    def __init__(self, titles: dict[str, str], chosen: Sequence[str]) -> None:
        super().__init__()
        self._titles, self._chosen = titles, {*chosen}
        self._names = [*chosen, *(name for name in titles if name not in chosen)]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = tr("Columns")
            dialog.border_subtitle = tr("Space on/off, K and J move it, Enter takes it, Esc leaves.")
            yield Options(markup=False, compact=True)

    def on_mount(self) -> None:
        self._show(0)
        self.query_one(OptionList).focus()

    def _show(self, at: int) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            Option(f"[{'x' if name in self._chosen else ' '}] {self._titles[name]}") for name in self._names
        )
        options.highlighted = at

    def action_go(self, by: int) -> None:
        options = self.query_one(OptionList)
        options.highlighted = max(0, min(len(self._names) - 1, (options.highlighted or 0) + by))

    def action_switch(self) -> None:
        at = self.query_one(OptionList).highlighted or 0
        self._chosen ^= {self._names[at]}
        self._show(at)

    def action_move(self, by: int) -> None:
        at = self.query_one(OptionList).highlighted or 0
        to = max(0, min(len(self._names) - 1, at + by))
        self._names.insert(to, self._names.pop(at))
        self._show(to)

    @on(OptionList.OptionSelected)
    def _take(self) -> None:
        self.dismiss(tuple(name for name in self._names if name in self._chosen))

    def action_leave(self) -> None:
        self.dismiss(None)

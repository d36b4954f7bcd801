"""The Gallery's filter, which completes fields and their values while it is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import Suggester, SuggestionReady
from textual.widgets import Input

from sdterm.core.filter_fields import FILTER_FIELDS
from sdterm.tui.filter_words import completions
from sdterm.tui.language import tr


class _Completer(Suggester):
    """Offers one of the completions; `turn` says which."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.values: Mapping[str, Sequence[str]] = {}
        self.turn = 0

    async def get_suggestion(self, value: str) -> str | None:
        found = completions(value, self.values)
        return found[self.turn % len(found)] if found else None


class FilterLine(Input):
    """Tab and Right take what is offered, Up and Down offer another."""

    scopes = ("filter",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take", show=False),
        Binding("down", "turn(1)", show=False),
        Binding("up", "turn(-1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Left(Message):
        """Nothing is to be filtered after all."""

    def __init__(self) -> None:
        self._completer = _Completer()
        placeholder = tr("filter: words, sampler:euler, steps>=20, seed:7")
        super().__init__(placeholder=placeholder, compact=True, id="filter", suggester=self._completer)
        self.cursor_blink = False

    def learn(self, values: Mapping[str, Sequence[str]]) -> None:
        """Offer these values of the fields."""
        self._completer.values = values

    def hint(self) -> str:
        """What may be typed here, in a line."""
        return tr(
            "Tab completes: {fields}", fields=" ".join(f"{name}{field.sign}" for name, field in FILTER_FIELDS.items())
        )

    def on_input_changed(self) -> None:
        self._completer.turn = 0

    def action_take(self) -> None:
        """Take what is offered; else go on to the pictures."""
        before = self.value
        self.cursor_position = len(before)
        self.action_cursor_right()
        if self.value == before:
            self.action_leave()

    async def action_turn(self, by: int) -> None:
        self._completer.turn += by
        if suggestion := await self._completer.get_suggestion(self.value):
            self.post_message(SuggestionReady(self.value, suggestion))

    def action_leave(self) -> None:
        self.post_message(self.Left())

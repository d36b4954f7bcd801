"""What is folded below the form: the options that sampler, schedule, format and plugins declare."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from textual import events
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Label

from sdterm.core.text import printable
from sdterm.tui.fields import Field
from sdterm.tui.language import tr
from sdterm.tui.widgets.parameter import Parameter, parameter


class MoreOptions(VerticalScroll, can_focus=False):
    """A line for each option."""

    def __init__(self) -> None:
        super().__init__(id="more")
        self.border_title = tr("More options")
        self._fields: list[Field] = []
        self._turn = asyncio.Lock()

    async def show(self, fields: Sequence[Field], values: Mapping[str, Any]) -> None:
        """Show these, and keep the cursor where it is if that is still there."""
        async with self._turn:
            if self._fields != [*fields]:
                await self._write(fields, values)

    async def _write(self, fields: Sequence[Field], values: Mapping[str, Any]) -> None:
        focused = self.screen.focused
        here = focused.field if isinstance(focused, Parameter) and self in focused.ancestors else None
        self._fields = [*fields]
        await self.remove_children()
        await self.mount(*(_line(field, values) for field in fields))
        for found in self.query(Parameter):
            if found.field == here:
                found.focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Parameter):
            field = event.widget.field
            self.border_subtitle = printable(tr(field.sentence), 60)


def _line(field: Field, values: Mapping[str, Any]) -> Horizontal:
    label = f"{printable(field.part, 20)}: {printable(field.label, 30)}" if field.part else tr(field.label)
    shown = parameter(field, field.read(values))
    shown.styles.width = "1fr"
    return Horizontal(Label(label, markup=False), shown)

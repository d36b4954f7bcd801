"""One parameter of the form, on one line: typed, stepped with up and down, or picked from a list with Enter."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from sdterm.core.text import printable
from sdterm.tui.fields import Field
from sdterm.tui.messages import InfotextPasted

_LONGEST = 2000  # characters


class Parameter(Input):
    """A field of the form."""

    scopes = ("field",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", show=False),
        Binding("down", "step(-1)", show=False),
    ]

    class Edited(Message):
        """It has another value."""

        def __init__(self, parameter: Parameter) -> None:
            super().__init__()
            self.parameter = parameter

    class PickWanted(Message):
        """Its list is wanted."""

        def __init__(self, parameter: Parameter) -> None:
            super().__init__()
            self.parameter = parameter

    def __init__(self, field: Field, value: str) -> None:
        value = printable(value, _LONGEST)
        super().__init__(value, id=f"field-{field.id}", compact=True, select_on_focus=True)
        self.field = field
        self._shown = value  # what came from the draft is no edit
        self.cursor_blink = False
        self.styles.width = field.width

    def show(self, value: str) -> None:
        """Another value, not from here."""
        value = printable(value, _LONGEST)
        if value != self.value:
            self._shown = self.value = value

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.was_edited():
            self.post_message(self.Edited(self))

    def was_edited(self) -> bool:
        """Whether it has another value than when this was asked last."""
        edited, self._shown = self.value != self._shown, self.value
        return edited

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.PickWanted(self))

    def action_step(self, by: int) -> None:
        if (stepped := self.field.stepped(self.value, by)) is not None:
            self.value = stepped
            self.cursor_position = len(stepped)

    def _on_paste(self, event: events.Paste) -> None:
        from sdterm.tui.pasted import infotext_in

        if (infotext := infotext_in(event.text)) is not None:
            self.post_message(InfotextPasted(infotext))
            event.prevent_default()
            event.stop()

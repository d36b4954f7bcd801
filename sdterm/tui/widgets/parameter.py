"""One parameter of the form, on one line: a number or text that is typed, or a choice that is stepped or picked."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from sdterm.core.text import printable
from sdterm.tui.fields import Field, RefusedTextError, in_words
from sdterm.tui.messages import InfotextPasted
from sdterm.tui.shell import HasShell

_LONGEST = 2000  # characters


class Parameter(HasShell, Input):
    """A field of the form that is typed."""

    scopes = ("field",)
    is_typed = True
    """Whether keys write in it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", show=False),
        Binding("down", "step(-1)", show=False),
    ]

    class Said(Message):
        """Something about a parameter."""

        def __init__(self, parameter: Parameter) -> None:
            super().__init__()
            self.parameter = parameter

    class Edited(Said):
        """It has another value."""

    class Settled(Said):
        """What was typed is its value."""

    class Entered(Said):
        """Enter was pressed on a value that nobody has touched."""

    class Refused(Said):
        """What was typed cannot stand there; what stood there before does again."""

        def __init__(self, parameter: Parameter, why: str) -> None:
            super().__init__(parameter)
            self.why = why

    class PickWanted(Said):
        """Its list is wanted, narrowed down by some words."""

        def __init__(self, parameter: Parameter, words: str = "") -> None:
            super().__init__(parameter)
            self.words = words

    class Given(Said):
        """A text was pasted that says which picture it is to be."""

        def __init__(self, parameter: Parameter, text: str) -> None:
            super().__init__(parameter)
            self.text = text

    class StepWanted(Said):
        """Another thing of its list is wanted."""

        def __init__(self, parameter: Parameter, by: int) -> None:
            super().__init__(parameter)
            self.by = by

    class ResetWanted(Said):
        """Its default is wanted."""

    def __init__(self, field: Field, value: str) -> None:
        value = printable(value, _LONGEST)
        name = None if field.inside else f"field-{field.id}"
        super().__init__(value, id=name, compact=True, select_on_focus=self.is_typed)
        self.field = field
        self._shown = value  # what came from the draft is no edit
        self._said = value  # what the form says, at the latest word
        self._former = value  # what stands there if what is typed is refused
        self.cursor_blink = False

    def show(self, value: str) -> None:
        """What the form says: where it says nothing new, no reason to take away what somebody typed."""
        if printable(value, _LONGEST) != self._said:
            self.put(value)

    def put(self, value: str) -> None:
        """Have a value stand there, whatever was typed."""
        value = printable(value, _LONGEST)
        self._former = self._said = value
        self.show_refusal(False)
        if value != self.value:
            self._shown = self.value = value
            self.cursor_position = len(value)
        self._show_its_beginning()

    def on_mount(self) -> None:
        self._show_its_beginning()

    def _show_its_beginning(self) -> None:
        """What is too long for its place is cut at the end; only where somebody types, it is not."""
        if not (self.has_focus and self.is_typed):
            self.cursor_position = 0

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.was_edited():
            self.post_message(self.Edited(self))

    def taken(self, value: str) -> None:
        """The form has what was typed, and says this of it: a sum is done, and what is empty has its default."""
        self._said = printable(value, _LONGEST)

    def show_refusal(self, is_refused: bool) -> None:
        """Show whether what is typed could stand there."""
        self.set_class(is_refused, "-refused")

    def was_edited(self) -> bool:
        """Whether it has another value than when this was asked last."""
        edited, self._shown = self.value != self._shown, self.value
        return edited

    def settle(self) -> str:
        """Take what was typed for its value: sums are done. Returns why not, and then it is as it was before."""
        if self.value == self._former:
            return ""
        try:
            value, why = self.field.settled(self.value), ""
        except RefusedTextError as error:
            value, why = self._former, str(error)
        self._former = value
        self.show_refusal(False)
        if value != self.value:
            self.value = value
            self.cursor_position = len(value)
        self.post_message(self.Refused(self, why) if why else self.Settled(self))
        return why

    def on_blur(self) -> None:
        self.settle()
        self._show_its_beginning()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.value == self._former:
            self.post_message(self.Entered(self))
        else:
            self.settle()

    def action_step(self, by: int) -> None:
        if self.field.offers:
            self.settle()
            self.post_message(self.StepWanted(self, by))
        elif (stepped := self.field.stepped(self.value or self.placeholder, by)) is not None:
            self.value = stepped
            self.cursor_position = len(stepped)

    def _on_paste(self, event: events.Paste) -> None:
        if self._takes_infotext(event):
            event.prevent_default()
            event.stop()

    def _takes_infotext(self, event: events.Paste) -> bool:
        from sdterm.tui.pasted import infotext_in, no_files_here

        reads_files = not no_files_here(self.shell.settings)
        if (infotext := infotext_in(event.text, reads_files=reads_files)) is not None:
            self.post_message(InfotextPasted(infotext))
        return infotext is not None


class Choice(Parameter, inherit_bindings=False):
    """A field of the form that is chosen: up and down step it, Enter or a letter opens its list. A switch has two, a
    picture none: it is named by a line that a letter begins."""

    is_typed = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("enter", "submit", show=False),
        Binding("delete,backspace,ctrl+u,ctrl+w", "reset", show=False),
    ]

    @property
    def _value(self) -> Text:
        """What is painted. Nobody types in it, so it can be other words than the value."""
        return Text(in_words(self.value), no_wrap=True, overflow="ignore", end="")

    async def _on_key(self, event: events.Key) -> None:
        if not event.is_printable:
            return
        event.stop()
        event.prevent_default()
        typed = event.character or ""
        if self.field.kind in ("choice", "input"):
            self.post_message(self.PickWanted(self, typed.strip()))
        elif typed.count(" ") % 2:
            self.post_message(self.StepWanted(self, 1))

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        if self.field.kind == "input":
            self.post_message(self.Given(self, event.text.strip()[:_LONGEST]))
        elif not self._takes_infotext(event):
            self.post_message(self.PickWanted(self, " ".join(event.text.split())[:_LONGEST]))

    def action_step(self, by: int) -> None:
        if self.field.kind == "input":
            (self.screen.focus_next if by > 0 else self.screen.focus_previous)()
        else:
            self.post_message(self.StepWanted(self, by))

    def action_reset(self) -> None:
        self.post_message(self.ResetWanted(self))


def parameter(field: Field, value: str) -> Parameter:
    """The widget for a field."""
    return (Choice if field.kind in ("choice", "switch", "input") else Parameter)(field, value)

"""A text over the whole screen and nothing beside it, so that the terminal's own selection takes the text alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from sdterm.core.text import printable

_LONGEST = 100_000  # characters of a line


class Plain(ModalScreen[None]):
    """Shows a text. hint: a line below it. code: a QR code above it."""

    DEFAULT_CSS = """
    Plain { align: left top; background: $background; }
    Plain VerticalScroll { height: 1fr; scrollbar-size-vertical: 0; }
    Plain .code { width: auto; color: white; background: black; }
    Plain .hint { height: auto; text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "leave", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, text: str, hint: str, code: Sequence[str] = ()) -> None:
        super().__init__()
        self._code = code
        self._text = "\n".join(printable(line, _LONGEST) for line in text.split("\n"))
        self._hint = hint

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            if self._code:
                yield Static(Text("\n".join(self._code)), classes="code")
            yield Static(Text(self._text))
        yield Static(Text(self._hint), classes="hint")

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_leave(self) -> None:
        self.dismiss()

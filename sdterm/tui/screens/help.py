"""Help: every key, written from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from sdterm.tui.actions import ACTIONS, SCOPES
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.screens.room import Room

PLACES = {
    "anywhere": "Anywhere",
    "prompt": "In a prompt",
    "pictures": "Where a picture is chosen (Recent, Gallery)",
    "gallery": "Gallery",
    "compare": "Compare",
    "queue": "Queue",
    "models": "Models",
    "settings": "Settings",
    "extensions": "Extensions",
}
LISTS = "In every list: arrows or j k h l, g and G for the ends."
FIELDS = "In a parameter: up and down step it, letters search its list, 512+64 is a sum, Enter opens the list or draws."


class HelpScreen(Room):
    """What each key does."""

    room = "go_help"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def body(self) -> Iterable[Widget]:
        with VerticalScroll():
            yield Static(self._text())

    def on_screen_resume(self) -> None:
        for text in self.query("VerticalScroll > Static").results(Static):
            text.update(self._text())  # pictures may be shown in another way by now

    def _text(self) -> Text:
        text = Text()
        for scope in SCOPES:
            text.append(f"{tr(PLACES[scope])}\n", style="bold")
            for action in ACTIONS:
                if action.scope == scope:
                    keys = " ".join(shown(key) for key in self.shell.keys[action.id].split(","))
                    text.append(f"  {keys:<24} ", style="bold").append(f"{tr(action.title)}\n")
            text.append("\n")
        for line in (LISTS, FIELDS):
            text.append(f"{tr(line)}\n")
        return text.append("\n").append(self._terminal())

    def _terminal(self) -> str:
        found, size = self.shell.picture_support(), self.app.size
        return tr(
            "This terminal: {width}x{height}, pictures as {protocol}, colours: {depth}. {reason}",
            width=size.width,
            height=size.height,
            protocol=found.protocol,
            depth=found.depth,
            reason=found.reason,
        )

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

"""Help: every key, written from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from sdterm.tui.actions import SCOPES, actions_of
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.panes import ABOUT
from sdterm.tui.screens.base import BaseScreen

PLACES = {
    "anywhere": "Anywhere",
    "prompt": "In a prompt",
    "field": "In a field of the form",
    "pictures": "Where a picture is chosen (Recent, Gallery)",
    "gallery": "Gallery",
    "compare": "Compare",
    "mask": "Mask",
    "queue": "Queue",
    "models": "Models",
    "settings": "Settings",
    "extensions": "Extensions",
}
LISTS = "In every list: arrows or j k h l, g and G for the ends."


class HelpScreen(BaseScreen):
    """What each key does."""

    tab = "go_help"
    scopes = ("help",)
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("escape", "app.go_back", show=False),
    ]

    def body(self) -> Iterable[Widget]:
        with VerticalScroll():
            yield Static(self._text())

    def on_screen_resume(self) -> None:
        for text in self.query("VerticalScroll > Static").results(Static):
            text.update(self._text())  # of another place, and pictures may be shown in another way by now
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _text(self) -> Text:
        text = Text(tr("Esc or {key} goes back; up and down scroll.", key=self.shell.key("go_help"))).append("\n\n")
        here = [scope for scope in self.shell.helped if scope in ABOUT]
        for scope in (*here, *(scope for scope in SCOPES if scope not in here)):
            self._append_place(text, scope, is_here=scope in here)
        return text.append(f"{tr(LISTS)}\n\n").append(self._terminal())

    def _append_place(self, text: Text, scope: str, *, is_here: bool) -> None:
        """Its name, with a sign if the cursor was there, what it is for, and its keys."""
        place = tr(PLACES[scope])
        text.append(tr("Here: {place}", place=place) if is_here else place, style="bold").append("\n")
        if scope in ABOUT:
            text.append(f"  {tr(ABOUT[scope])}\n")
        for action in actions_of(self.shell.settings):
            if action.scope == scope:
                keys = " ".join(shown(key) for key in self.shell.keys[action.id].split(","))
                text.append(f"  {keys:<24} ", style="bold").append(f"{tr(action.title)}\n")
        text.append("\n")

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

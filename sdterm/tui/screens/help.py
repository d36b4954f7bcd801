"""Help: every key, written from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from sdterm.core.text import printable
from sdterm.tui.actions import SCOPES, actions_of
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.panes import ABOUT
from sdterm.tui.screens.base import BaseScreen

PLACES = {
    "anywhere": "Anywhere",
    "prompt": "In a prompt",
    "field": "In a field of the form",
    "pictures": "Where an image is chosen (Recent, Gallery)",
    "gallery": "Gallery",
    "compare": "Compare",
    "mask": "Mask",
    "queue": "Queue",
    "models": "Models",
    "settings": "Settings",
    "extensions": "Extensions",
}
_KEYS, _BESIDE, _LEAST = 20, 6, 10  # cells: of the keys, around both columns, of what they do
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

    def on_resize(self, event: events.Resize) -> None:
        for text in self.query("VerticalScroll > Static").results(Static):
            text.update(self._text())

    def on_screen_resume(self) -> None:
        for text in self.query("VerticalScroll > Static").results(Static):
            text.update(self._text())  # of another place, and pictures may be shown in another way by now
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _text(self) -> Content:
        parts = [(tr("Esc or {key} goes back; up and down scroll.", key=self.shell.key("go_help")), "$muted")]
        here = [scope for scope in self.shell.helped if scope in ABOUT]
        for scope in (*here, *(scope for scope in SCOPES if scope not in here)):
            parts += self._place(scope, is_here=scope in here)
        parts += [(f"\n\n{tr(LISTS)}\n\n", ""), (self._terminal(), "$muted")]
        return Content.assemble(*parts)

    def _place(self, scope: str, *, is_here: bool) -> Iterator[tuple[str, str]]:
        """Its name, with a sign if the cursor was there, what it is for, and its keys."""
        place = tr(PLACES[scope])
        yield "\n\n" + (tr("Here: {place}", place=place) if is_here else place), "bold"
        field = self.shell.helped_field
        if is_here and field and scope in ("prompt", "field"):
            yield "\n  " + tr("{label}: {value}", label=tr(field.label), value=printable(tr(field.sentence), 1000)), ""
        if scope in ABOUT:
            yield f"\n  {tr(ABOUT[scope])}", "$muted"
        for action in actions_of(self.shell.settings):
            if action.scope == scope:
                keys = " ".join(shown(key) for key in self.shell.keys[action.id].split(","))
                yield f"\n  {keys:<{_KEYS}} ", "bold $text-primary"
                yield self._indented(tr(action.title)), ""

    def _indented(self, title: str) -> str:
        """What a key does, in lines of its own column."""
        cells = max(_LEAST, self.app.size.width - _KEYS - _BESIDE)
        lines = Text(title).wrap(self.app.console, cells)
        return f"\n{' ' * (_KEYS + 3)}".join(line.plain.rstrip() for line in lines)

    def _terminal(self) -> str:
        found, size = self.shell.picture_support(), self.app.size
        return tr(
            "This terminal: {width}x{height}, images as {protocol}, colours: {depth}. {reason}",
            width=size.width,
            height=size.height,
            protocol=found.protocol,
            depth=found.depth,
            reason=found.reason,
        )

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

"""Jump mode: a letter on every field, and the letter goes there."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.errors import NoWidget
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from sdterm.tui.actions import BY_ID, actions_of
from sdterm.tui.language import tr
from sdterm.tui.shell import HasShell

LETTERS = "123456789qwrtasdfgzxcvbyuiophjklnm"
"""`e` is not among them: it opens the editor outside."""


class Jump(HasShell, ModalScreen[None]):
    """Labels over the screen below."""

    DEFAULT_CSS = """
    Jump { background: transparent; align: left top; layers: labels; }
    Jump Static { layer: labels; position: absolute; width: 3; height: 1; text-style: bold reverse; }
    Jump #how { width: 100%; height: 1; }
    """

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        shown = {widget: _in_sight(below, widget) for widget in below.focus_chain}
        fields = [widget for widget, region in shown.items() if region]
        self._targets: dict[str, Widget] = dict(zip(LETTERS, fields, strict=False))
        self._places = {letter: shown[widget].offset for letter, widget in self._targets.items()}
        self._below = below

    def compose(self) -> ComposeResult:
        for letter, place in self._places.items():
            label = Static(Text(f" {letter} "))
            label.styles.offset = place
            yield label
        what = tr("Press a letter to go there.  e: the prompt in your editor  Esc: leave")
        if BY_ID["edit_outside"] not in actions_of(self.shell.settings):
            what = tr("Press a letter to go there.  Esc: leave")
        how = Static(Text(f" {what}"), id="how")
        how.styles.offset = 0, self.app.size.height - 1
        yield how

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss()
        if event.character in self._targets:
            self._below.set_focus(self._targets[event.character])
        elif event.character == "e":
            self.app.call_later(self.app.run_action, "edit_outside")


def _in_sight(screen: Screen[object], widget: Widget) -> Region:
    """The part of a widget that is to be seen: of what is scrolled away, nothing."""
    try:
        return screen.find_widget(widget).visible_region
    except NoWidget:
        return Region()

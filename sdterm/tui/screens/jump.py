"""Jump mode: a letter on every field, and the letter goes there."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from sdterm.tui.language import tr

LETTERS = "123456789qwrtasdfgzxcvbyuiophjklnm"
"""`e` is not among them: it opens the editor outside."""


class Jump(ModalScreen[None]):
    """Labels over the screen below."""

    DEFAULT_CSS = """
    Jump { background: transparent; align: left top; layers: labels; }
    Jump Static { layer: labels; position: absolute; width: 3; height: 1; text-style: bold reverse; }
    Jump #how { width: 100%; height: 1; }
    """

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        fields = [w for w in below.focus_chain if w.region.width and w.region.height]
        self._targets: dict[str, Widget] = dict(zip(LETTERS, fields, strict=False))
        self._below = below

    def compose(self) -> ComposeResult:
        for letter, widget in self._targets.items():
            label = Static(Text(f" {letter} "))
            label.styles.offset = widget.region.offset
            yield label
        what = tr("Press a letter to go there.  e: the prompt in your editor  Esc: leave")
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

"""A look at what the terminal sends: the keys that arrive, and what they would do."""

from collections.abc import Mapping

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static

from sdterm.tui.actions import BY_ID
from sdterm.tui.alt_keys import hear_alt_keys

_LINES = 12


class Keyboard(App[None], inherit_bindings=False):
    """Names each key that arrives."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        hear_alt_keys()
        self._does = {key: action for action, pressed in keys.items() for key in pressed.split(",")}
        self._seen = ["Press keys; Ctrl+C twice ends."]
        self._last = ""

    def compose(self) -> ComposeResult:
        yield Static(self._seen[0], markup=False)

    def on_key(self, event: events.Key) -> None:
        if event.key == self._last == "ctrl+c":
            self.exit()
        self._last = event.key
        action = self._does.get(event.key)
        self._seen.append(f"{event.key:<20} {action or '-':<20} {BY_ID[action].title if action else ''}")
        self.query_one(Static).update("\n".join(self._seen[-_LINES:]))

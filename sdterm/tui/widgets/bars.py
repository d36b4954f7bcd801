"""The lines above and below every screen: where one is, what goes on, which keys do what."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.widget import Widget

from sdterm.core.text import printable
from sdterm.tui.actions import ACTIONS, Action
from sdterm.tui.language import tr
from sdterm.tui.shell import HasShell

_TALL = 20  # lines of a screen that has two for a long sentence
_NARROW = 40  # columns of one on which nothing else has room
ROOMS = (
    ("go_generate", "Generate"),
    ("go_gallery", "Gallery"),
    ("go_queue", "Queue"),
    ("go_models", "Models"),
    ("go_extensions", "Extensions"),
    ("go_settings", "Settings"),
    ("go_help", "Help"),
)

_SELDOM = {"go_extensions"}
"""Not shown unless it is open: there is no room for all."""


class _Line(HasShell, Widget):
    """One line of text."""

    DEFAULT_CSS = "_Line { height: 1; width: 100%; }"


class TopBar(_Line):
    """The screens, and the key of each; the one that is open is in brackets, too."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self._room = room

    def render(self) -> Text:
        wide = self.size.width >= 70
        line = Text(" sdterm ", style="bold", no_wrap=True, overflow="ellipsis")
        for action, title in ROOMS:
            here = action == self._room
            if not here and (not wide or action in _SELDOM):
                continue
            name = tr(title)
            key = self.shell.key(action)
            said = f" [{name}]" if here else f" {key} {name} "
            if line.cell_len + cell_len(said) > self.size.width:
                break
            line.append(said, style="bold reverse" if here else "")
            if here:
                line.append(" ")
        return line


class Note(_Line):
    """What was just done, or is wrong, in a sentence: until the next one."""

    text = ""

    def say(self, text: str) -> None:
        self.text = text
        self.styles.height = len(self._lines())
        self.refresh()

    def on_resize(self) -> None:
        self.styles.height = len(self._lines())

    def render(self) -> Text:
        return Text("\n".join(f" {line}" for line in self._lines()), no_wrap=True)

    def _lines(self) -> list[str]:
        """One, or two where there is room for them; with a sign where that is not enough."""
        width, height = self.app.size
        most, room = (3 if width < _NARROW else 2 if height >= _TALL else 1), max(4, width - 2)
        lines = [line.plain.rstrip() for line in Text(printable(self.text, 400)).wrap(self.app.console, room)] or [""]
        if len(lines) > most:
            lines[most - 1] = set_cell_size(lines[most - 1] + " " * room, room - 1).rstrip() + "…"
        return lines[:most]


class StatusLine(_Line):
    """What goes on."""

    def render(self) -> Text:
        left = self.size.width - 1
        line = ""
        for number, part in enumerate(self.shell.status()):
            more = ("  " if number == 1 else " | ") if number else ""
            if cell_len(line) + cell_len(more + part) > left:
                if not number:
                    line = set_cell_size(part, left)
                break
            line += more + part
        return Text(f" {line}", no_wrap=True)


class KeyBar(_Line):
    """The keys that matter where the cursor is."""

    def render(self) -> Text:
        line, last = Text(" ", no_wrap=True), Text(no_wrap=True)
        for name, hint in _LAST.items():
            _append(last, self.shell.key(name), tr(hint))
        left = self.size.width - 1 - last.cell_len
        for action in self._actions():
            item = Text(no_wrap=True)
            _append(item, self.shell.key(action.id), tr(action.hint))
            if line.cell_len + item.cell_len > left:
                break
            line.append_text(item)
        return line.append_text(last)

    def _actions(self) -> list[Action]:
        focused = self.screen.focused
        nodes = focused.ancestors_with_self if focused else [self.screen]
        scopes = [scope for node in nodes for scope in getattr(node, "scopes", ())]
        places = [*scopes, "anywhere"]
        known = [a for a in ACTIONS if a.hint and a.scope in places and a.id not in _LAST]
        first = getattr(focused, "first_keys", ())  # there is seldom room for all
        return sorted(
            known,
            key=lambda action: (
                first.index(action.id) if action.id in first else len(first),
                places.index(action.scope) if action.scope != "prompt" else len(places),
            ),
        )


_LAST = {"command_palette": "Commands", "go_help": "Help"}


def _append(line: Text, key: str, word: str) -> None:
    line.append(key, style="bold").append(f" {word}  ")

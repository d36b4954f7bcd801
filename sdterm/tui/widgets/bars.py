"""The lines above and below every screen: where one is, what goes on, which keys do what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.keys import key_to_character
from textual.timer import Timer
from textual.widget import Widget

from sdterm.core.text import printable
from sdterm.tui.actions import BY_ID, Action, actions_of
from sdterm.tui.language import tr
from sdterm.tui.panes import MOVES, scopes_of
from sdterm.tui.shell import HasShell

HOLDS, ERROR_HOLDS = 30.0, 120.0
"""Seconds that a message stands, and one that says what is wrong."""
_TALL = 21  # lines of a screen that has two for a long sentence
_NAME = " sdterm "
_PICTURE_BESIDE = 80  # columns from which on a picture is shown beside the form
_SLIM = 60  # columns of a key bar that has room for few keys
_NARROW = 40  # columns of one on which nothing else has room
TABS = (
    ("go_generate", "Generate"),
    ("go_gallery", "Gallery"),
    ("go_queue", "Queue"),
    ("go_models", "Models"),
    ("go_extensions", "Extensions"),
    ("go_settings", "Settings"),
    ("go_help", "Help"),
)

_DROPPED = ("go_help", "go_extensions", "go_models", "go_settings", "go_queue", "go_gallery", "go_generate")
"""In this order, where there is no room for all; the key bar has Help, too."""
_SHORTEST = 6  # cells of a screen's name, if it is cut so that all of them have room


class _Line(HasShell, Widget):
    """One line of text."""

    DEFAULT_CSS = "_Line { height: 1; width: 100%; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--muted", "line--here", "line--wrong"}

    def style_of(self, part: Literal["key", "muted", "here", "wrong"]) -> Style:
        """How the stylesheet has it: a key, what matters less, the open screen, what is wrong."""
        return self.get_component_rich_style(f"line--{part}", partial=True)

    def append_key(self, line: Text, key: str, word: str, style: Style | str = "") -> None:
        """A key, and what it does."""
        line.append(key, style=self.style_of("key")).append(f" {word}", style=style)


class TopBar(_Line):
    """The screens, and the key of each; the one that is open is in brackets, too."""

    def __init__(self, tab: str) -> None:
        super().__init__()
        self._tab = tab

    def render(self) -> Text:
        line = Text(_NAME, style="bold", no_wrap=True, overflow="ellipsis")
        for action, name in self._fitting(self.size.width - cell_len(_NAME)).items():
            line.append(" ")
            if action == self._tab:
                line.append(f"[{name}]", style=self.style_of("here"))
            else:
                self.append_key(line, self.shell.key(action), name)
        return line

    def _fitting(self, cells: int) -> dict[str, str]:
        """Names of the screens by their actions: where they have no room, cut, then fewer. What is open stays whole, as
        does the way to its picture."""
        names, whole = self._names(), (self._tab, "show_preview")
        needed = {action: cell_len(self.shell.key(action)) + 2 for action in names} | {self._tab: 3}

        def fit(most: int) -> bool:
            lengths = {a: cell_len(name) if a in whole else min(cell_len(name), most) for a, name in names.items()}
            return sum(needed[action] + length for action, length in lengths.items()) <= cells

        longest = max(map(cell_len, names.values()))
        if fit(longest):
            return names
        for dropped in _DROPPED:
            if dropped == self._tab:
                continue
            names.pop(dropped)
            if most := next((most for most in range(longest, _SHORTEST - 1, -1) if fit(most)), 0):
                return {action: name if action in whole else _cut(name, most) for action, name in names.items()}
        return names

    def _names(self) -> dict[str, str]:
        """All of them but Help, which the key bar has, where there is no room for that; where the form is narrow, how
        its picture is shown comes behind them."""
        names = {action: tr(title) for action, title in TABS}
        if self._tab == "go_generate" and self.size.width < _PICTURE_BESIDE:
            names["show_preview"] = tr("Image")
        return names


class Note(_Line):
    """What was just done, or is wrong, in a sentence: until the next one, or until it is old."""

    text = ""
    _expiry: Timer | None = None

    def say(self, text: str, *, standing: bool = False) -> None:
        self.text = text
        self.styles.height = len(self._lines())
        self.refresh()
        if self._expiry:
            self._expiry.stop()
        self._expiry = None if standing or not text else self.set_timer(holds(text), self._expire)

    @property
    def stands(self) -> bool:
        """Whether something stands there until it is taken back."""
        return bool(self.text) and self._expiry is None

    def _expire(self) -> None:
        self._expiry = None
        self.say("", standing=True)

    def on_resize(self) -> None:
        self.styles.height = len(self._lines())

    def render(self) -> Text:
        style = self.style_of("wrong") if self.text.startswith("!") else ""
        return Text("\n".join(f" {line}" for line in self._lines()), style=style, no_wrap=True)

    def _lines(self) -> list[str]:
        """One, or two where there is room for them; with the key that shows the whole where that is not enough."""
        width, height = self.app.size
        most, cells = (3 if width < _NARROW else 2 if height >= _TALL else 1), max(4, width - 2)
        lines = [line.plain.rstrip() for line in Text(printable(self.text, 4000)).wrap(self.app.console, cells)] or [""]
        if len(lines) > most:
            more = "… " + tr("({key}: all of it)", key=self.shell.key("messages"))
            lines[most - 1] = set_cell_size(lines[most - 1] + " " * cells, cells - cell_len(more)).rstrip() + more
        return lines[:most]


class StatusLine(_Line):
    """What goes on."""

    def render(self) -> Text:
        left = self.size.width - 1
        parts = [*self.shell.status()]
        if cell_len(" | ".join(parts)) > left and len(parts) > 2:
            del parts[-2]  # the model has another place; whether the seed is kept has none
        first, *rest = parts
        line = Text(" ", no_wrap=True)
        line.append(set_cell_size(first, left) if cell_len(first) > left else first, style=self._style(first))
        for number, part in enumerate(rest):
            more = f" | {part}" if number else f"  {part}"
            if line.cell_len + cell_len(more) > left + 1:
                break
            line.append(more, style=self.style_of("muted"))
        machine = self.shell.machine
        if machine and self.shell.state.host != "starting":  # where what is told has left room
            far = "  " + tr("on {machine}", machine=machine)
            if line.cell_len + cell_len(far) <= left + 1:
                line.append(far, style=self.style_of("here"))
        return line

    def _style(self, state: str) -> Style:
        """Of what goes on, which has a sign, too."""
        return self.style_of({">": "key", "!": "wrong"}.get(state[:1], "muted"))  # type: ignore[arg-type]


class KeyBar(_Line):
    """The keys that matter where the cursor is."""

    def render(self) -> Text:
        line, last = Text(" ", no_wrap=True), Text(no_wrap=True)
        for name, hint in self._last().items():
            self._append(last, self.shell.key(name), tr(hint))
        left = self.size.width - 1 - last.cell_len
        for key, hint in self._keys():
            item = Text(no_wrap=True)
            self._append(item, key, tr(hint))
            if line.cell_len + item.cell_len <= left:
                line.append_text(item)
        return line.append_text(last)

    def _append(self, line: Text, key: str, word: str) -> None:
        self.append_key(line, key, f"{word}  ")

    def _last(self) -> dict[str, str]:
        """What is always there: the way back to the prompt, too, where that is another screen. Pictures have so many
        keys that only their list stays."""
        if "pictures" in scopes_of(self.screen):
            return {"go_help": "All keys"}
        if self.size.width < _SLIM:  # those of the place come first
            return {"go_help": "Help"}
        return _LAST if self._is_form() else {"go_generate": "Prompt", **_LAST}

    def _is_form(self) -> bool:
        return getattr(self.screen, "tab", "") == "go_generate"

    def _keys(self) -> Iterator[tuple[str, str]]:
        """The keys of the place where the cursor is, then those that are heard anywhere; while one writes, those that
        draw come first."""
        scopes = scopes_of(self.screen)
        draws = "stop" if self.shell.state.runs else "variations" if "prompt" in scopes else ""
        first = tuple(filter(None, ("generate", draws))) if {"prompt", "field"} & {*scopes} else ()
        chooser = self.screen.focused if hasattr(self.screen.focused, "first_keys") else self.screen
        first = (*first, *getattr(chooser, "first_keys", ()))  # there is seldom room for all
        yield from (self._key(BY_ID[name]) for name in first)
        taken: set[str] = set()  # by a narrower place
        for scope in (*scopes, "anywhere"):
            yield from MOVES.get(scope, ())
            for action in actions_of(self.shell.settings):
                key = self.shell.key(action.id)
                if action.hint and action.scope == scope and key not in taken and self._is_heard(action):
                    taken.add(key)
                    if action.id not in (*first, *self._last()):
                        yield self._key(action)

    def _is_heard(self, action: Action) -> bool:
        """Whether its key does that here, and neither writes a letter nor leaves an overlay."""
        key, focused = self.shell.keys[action.id].split(",")[0], self.screen.focused
        if focused and focused.check_consume_key(key, key_to_character(key)):
            return False
        if action.scope != "anywhere":
            return True
        bound = self.screen.active_bindings.get(key)
        return not bound or bound.binding.action.removeprefix("app.") == action.id

    def _key(self, action: Action) -> tuple[str, str]:
        return self.shell.key(action.id), action.hint


_LAST = {"command_palette": "Commands", "go_help": "Help"}


def _cut(text: str, cells: int) -> str:
    """A text in so many cells, with an ellipsis where it has more."""
    whole = Text(text)
    whole.truncate(cells, overflow="ellipsis")
    return whole.plain


def holds(text: str) -> float:
    """Seconds that a message stands."""
    return ERROR_HOLDS if text.startswith("!") else HOLDS

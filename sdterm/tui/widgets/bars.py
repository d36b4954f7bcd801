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

_SHORTENED = ("go_extensions", "go_models", "go_settings", "go_queue", "go_gallery", "go_generate")
"""In this order, where there is no room for all; Help goes before them, since the key bar has it, too."""


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
        name, screens = self._fitting()
        line = Text(name, style="bold", no_wrap=True, overflow="ellipsis")
        for action, title in screens.items():
            line.append(" ")
            if action == self._tab:
                line.append(f"[{title}]", style=self.style_of("here"))
            elif title:
                self.append_key(line, self.shell.key(action), title)
            else:
                line.append(self.shell.key(action), style=self.style_of("key"))
        return line

    def _fitting(self) -> tuple[str, dict[str, str]]:
        """As much as has room: the program's name, and the screens' names by their actions."""
        shortened = [*self._ever_shorter()]
        return next((parts for parts in shortened if self._length(*parts) <= self.size.width), shortened[-1])

    def _length(self, name: str, screens: dict[str, str]) -> int:
        words = (
            f"[{title}]" if action == self._tab else f"{self.shell.key(action)} {title}".rstrip()
            for action, title in screens.items()
        )
        return cell_len(name) + sum(1 + cell_len(word) for word in words)

    def _ever_shorter(self) -> Iterator[tuple[str, dict[str, str]]]:
        """What matters least goes first, and no word is ever cut: Help, the program's name, then the names of screens,
        whose keys stay, then those keys. What is open stays whole, as does the way to its picture."""
        screens = self._names()
        yield _NAME, {**screens}
        if self._tab != "go_help":
            del screens["go_help"]
            yield _NAME, {**screens}
        yield "", {**screens}
        others = [action for action in _SHORTENED if action != self._tab]
        for action in others:
            screens[action] = ""
            yield "", {**screens}
        for action in others:
            del screens[action]
            yield "", {**screens}

    def _names(self) -> dict[str, str]:
        """All of them; where the form is narrow, how its picture is shown comes behind them."""
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
        if machine := self.shell.machine:  # where what is told has left room
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
        if "pictures" in self._scopes():
            return {"go_help": "All keys"}
        if self.size.width < _SLIM:  # those of the place come first
            return {"go_help": "Help"}
        return _LAST if self._is_form() else {"go_generate": "Prompt", **_LAST}

    def _is_form(self) -> bool:
        return getattr(self.screen, "tab", "") == "go_generate"

    def _first(self) -> tuple[str, ...]:
        """What the place names first: there is seldom room for all."""
        chooser = self.screen.focused if hasattr(self.screen.focused, "first_keys") else self.screen
        return getattr(chooser, "first_keys", ())

    def _scopes(self) -> list[str]:
        """The places whose keys are of use: an empty list of pictures has none."""
        return [scope for scope in scopes_of(self.screen) if scope != "pictures" or self._first()]

    def _keys(self) -> Iterator[tuple[str, str]]:
        """The keys of the place where the cursor is, then those that are heard anywhere; while one writes, those that
        draw come first."""
        scopes = self._scopes()
        draws = "stop" if self.shell.state.runs else "variations" if "prompt" in scopes else ""
        first = tuple(filter(None, ("generate", draws))) if {"prompt", "field"} & {*scopes} else ()
        first = (*first, *self._first())
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


def holds(text: str) -> float:
    """Seconds that a message stands."""
    return ERROR_HOLDS if text.startswith("!") else HOLDS

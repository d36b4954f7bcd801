"""The command palette: every action that can be done now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

from textual import on
from textual.app import App
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType
from textual.widgets import Input
from textual.worker import WorkerError

from sdterm.tui.actions import ACTIONS
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.shell import Shell

_WHILE_DRAWING = {"stop", "stop_after"}
"""Actions that need a job which is drawn."""


class Palette(CommandPalette):
    """Textual's palette, whose Enter means what was typed and not what was listed when it was pressed."""

    def __init__(self) -> None:
        super().__init__(providers=[Commands], placeholder=tr("What should be done?"))

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    @on(Input.Submitted)
    async def _take_what_matches(self, event: Input.Submitted) -> None:
        event.prevent_default()
        event.stop()
        for worker in [*self.workers]:
            if worker.group == self._GATHER_COMMANDS_GROUP:
                with suppress(WorkerError):  # a search for what was typed before
                    await worker.wait()
        self._select_or_command()


class Commands(Provider):
    """What can be done here and now."""

    async def discover(self) -> Hits:
        for words, command in self._commands():
            yield DiscoveryHit(words, command)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for words, command in self._commands():
            if (score := matcher.match(words)) > 0:
                yield Hit(score, matcher.highlight(words), command)

    def _commands(self) -> Iterator[tuple[str, IgnoreReturnCallbackType]]:
        app, shell = self.app, cast(Shell, self.app)
        focused = self.focused
        form = app.screen_stack[0]  # what it can do is offered everywhere
        nodes = [*(focused.ancestors_with_self if focused else ()), self.screen, app, form]
        for action in ACTIONS:
            if not action.palette or (action.id in _WHILE_DRAWING and not shell.state.runs):
                continue
            node = next((node for node in nodes if hasattr(node, f"action_{action.id}")), None)
            if node is None:
                continue
            words = f"{tr(action.title)}  ({shown(shell.keys[action.id].split(',')[0])})"
            yield words, getattr(node, f"action_{action.id}")
        for name in sorted(app.available_themes):
            yield tr("Theme: {name}", name=name), partial(_theme, app, name)
        from sdterm.tui.language import languages

        for language in (None, *languages(shell.language_places())):
            yield tr("Language: {name}", name=language or "English"), partial(shell.change_language, language)


def _theme(app: App[Any], name: str) -> None:
    app.theme = name

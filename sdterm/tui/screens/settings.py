"""Settings: each one's value and where it comes from; changed here, written to config.toml."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from sdterm.core.config import SETTINGS, Setting, frozen_reason
from sdterm.core.language import languages, tr
from sdterm.core.names import normal, printable
from sdterm.tui.actions import bindings
from sdterm.tui.screens.room import Room
from sdterm.tui.themes import language_folders

if TYPE_CHECKING:
    from sdterm.core.config import Settings


class SettingsScreen(Room):
    """The declared settings, by section."""

    room = "go_settings"
    scopes = ("settings",)
    AUTO_FOCUS = "DataTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("settings"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Setting] = []
        self._words: list[str] = []
        self._changed_only = False

    def body(self) -> Iterable[Widget]:
        line = Input(placeholder=tr("search"), compact=True, id="filter")
        line.cursor_blink = False
        yield line
        yield DataTable(cursor_type="row")
        yield Static(classes="words", markup=False)

    def on_mount(self) -> None:
        table = self._table()
        for title, width in ((tr("Setting"), 22), (tr("Value"), 24), (tr("From"), 16), (tr("Section"), None)):
            table.add_column(title, width=width)
        self._show()

    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def _show(self) -> None:
        settings = self.app.settings
        self._rows = [setting for setting in SETTINGS if self._is_shown(setting, settings)]
        table = self._table()
        at = table.cursor_row
        table.clear()
        for setting in self._rows:
            value = settings.values[setting.key]
            lock = "# " if frozen_reason(settings, setting.key) else ""
            mark = "  " if value.source == "default" else "* "
            cells = (mark + lock + setting.key, shown(value.value), value.source, tr(setting.section))
            table.add_row(*(Text(printable(cell), no_wrap=True, overflow="ellipsis") for cell in cells))
        table.move_cursor(row=min(at, max(0, len(self._rows) - 1)))
        table.border_title = tr("Settings  {number}", number=len(self._rows))
        if not self._rows:
            self.say(tr("No setting matches."))
        self._tell()

    def _is_shown(self, setting: Setting, settings: Settings) -> bool:
        if self._changed_only and settings.values[setting.key].source == "default":
            return False
        text = normal(f"{setting.key} {setting.section} {tr(setting.sentence)} {setting.sentence}")
        return all(word in text for word in self._words)

    def _chosen(self) -> Setting | None:
        at = self._table().cursor_row
        return self._rows[at] if 0 <= at < len(self._rows) else None

    @on(DataTable.RowHighlighted)
    def _tell(self) -> None:
        setting = self._chosen()
        if not setting:
            return
        lines = [tr(setting.sentence)]
        if setting.choices:
            lines.append(tr("One of {choices}.", choices=", ".join(setting.choices)))
        if reason := frozen_reason(self.app.settings, setting.key):
            lines.append("# " + reason)
        if setting.scope == "host":
            lines.append(
                tr("The host has this from its start on: `sdterm host stop`, and the next one has the new value.")
            )
        self.query_one(".words", Static).update(Text("\n".join(lines)))

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_cursor(self, by: int) -> None:
        table = self._table()
        table.move_cursor(row=table.cursor_row + by)

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_edit_setting()

    def action_edit_setting(self) -> None:
        setting = self._chosen()
        if setting is None:
            return
        if reason := frozen_reason(self.app.settings, setting.key):
            self.say(reason)
            return
        now = self.app.settings[setting.key]
        choices = self._choices(setting)
        if choices:

            def picked(number: int | None) -> None:
                if number is not None:
                    self._write(setting, choices[number])

            at = choices.index(shown(now)) if shown(now) in choices else 0
            self.app.choose(setting.key, choices, picked, at)
            return
        from sdterm.tui.screens.pick import Type

        def typed(text: str | None) -> None:
            if text is not None:
                self._write(setting, text)

        self.app.push_screen(Type(setting.key, shown(now), hint=printable(tr(setting.sentence), 68)), typed)

    def _choices(self, setting: Setting) -> list[str]:
        match setting.key:
            case "theme":
                return sorted(self.app.available_themes)
            case "language":
                return ["en", *languages(language_folders(self.app.settings))]
        if isinstance(setting.default, bool):
            return ["true", "false"]
        return [*setting.choices]

    def _write(self, setting: Setting, text: str) -> None:
        self._try(lambda: self.app.write_setting(setting.key, text))

    def action_reset_setting(self) -> None:
        if setting := self._chosen():
            self._try(lambda: self.app.write_setting(setting.key, None))

    def _try(self, change: Any) -> None:
        if trouble := change():
            self.say(trouble)
        else:
            self._show()

    def action_search_settings(self) -> None:
        self.query_one("#filter", Input).focus()

    @on(Input.Changed, "#filter")
    def _search(self, event: Input.Changed) -> None:
        self._words = normal(event.value).split()
        self._show()

    @on(Input.Submitted, "#filter")
    def _searched(self) -> None:
        self._table().focus()

    def action_changed_only(self) -> None:
        self._changed_only = not self._changed_only
        self._show()

    def action_translation_template(self) -> None:
        self.say(self.app.write_template())


def shown(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

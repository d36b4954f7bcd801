"""Settings: each one's value and where it comes from; changed here, written to config.toml."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import App
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input

from sdterm.core.languages.translations import languages
from sdterm.core.names import normal
from sdterm.core.settings.settings import SETTINGS, Setting, frozen_reason, is_owners
from sdterm.core.text import printable
from sdterm.tui import themes
from sdterm.tui.actions import bindings
from sdterm.tui.language import said, tr
from sdterm.tui.screens.table import TableScreen
from sdterm.tui.shell import Shell

if TYPE_CHECKING:
    from sdterm.core.settings.settings import Settings

_WIDE = 100  # columns of a screen that has room for long values
_SLIM = 72  # columns of one that has room for the section


@dataclass(frozen=True)
class Place:
    """Where the user is among the settings."""

    filter: str = ""
    changed_only: bool = False
    key: str = ""


class SettingsScreen(TableScreen[Setting]):
    """The declared settings, by section."""

    tab = "go_settings"
    scopes = ("settings",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("settings")]

    def __init__(self) -> None:
        super().__init__()
        self._place = Place()  # where it begins
        self._words: list[str] = []
        self._changed_only = False
        self._heads: set[str] = set()  # settings before which another section's stand: theirs is named

    def place(self) -> Place:
        text = self.query_one("#filter", Input).value if self.is_mounted else self._place.filter
        chosen = self.chosen() if self.is_mounted else None
        return Place(text, self._changed_only, chosen.key if chosen else self._place.key)

    def come_back(self, place: object) -> None:
        if isinstance(place, Place):
            self._place, self._changed_only, self._words = place, place.changed_only, normal(place.filter).split()

    def columns(self) -> Iterable[tuple[str, int]]:
        width = self.app.size.width
        value, source = (24, 16) if width >= _WIDE else (15, 12)
        yield from ((tr("Setting"), 22), (tr("Value"), value), (tr("From"), source))
        if width >= _SLIM:
            yield tr("Section"), 40

    def body(self) -> Iterable[Widget]:
        line = Input(self._place.filter, placeholder=tr("search"), compact=True, id="filter")
        line.cursor_blink = False
        yield line
        yield from super().body()

    def up(self) -> None:
        chosen = self.chosen()
        self._show(chosen.key if chosen else self._place.key)

    def _show(self, key: str = "") -> None:
        """Write the rows. key: of the setting that the cursor goes to; by default it stays in its row."""
        words = " ".join(self._words)
        found = [
            setting for setting in settings_of(self.shell.settings) if self._is_shown(setting, self.shell.settings)
        ]
        found.sort(key=lambda setting: words not in normal(setting.key))  # what is called so comes first
        self._heads = {
            setting.key
            for setting, before in zip(found, (None, *found), strict=False)
            if before is None or setting.section != before.section
        }
        at = next((row for row, setting in enumerate(found) if setting.key == key), self.table.cursor_row)
        self.show(found, at, tr("Settings  {number}", number=len(found)))
        if not found:
            self.say(tr("No setting matches."), standing=True)
        else:
            self.unsay(tr("No setting matches."))

    def row(self, item: Setting) -> tuple[str, ...]:
        settings = self.shell.settings
        value = settings.values[item.key]
        lock = "# " if frozen_reason(settings, item.key) else ""
        is_changed = value.source != "default"
        cells = (
            ("* " if is_changed else "  ") + lock + item.key,
            shown(value.value),
            tr(value.source) if is_changed else "",
            tr(item.section) if item.key in self._heads else "",
        )
        return tuple(map(printable, cells[: len(self.table.columns)]))

    def heading(self, item: Setting) -> str:
        return tr(item.section)

    def about(self, item: Setting) -> Iterable[str]:
        yield tr(item.sentence)
        if item.choices:
            yield tr("One of {choices}.", choices=", ".join(item.choices))
        if reason := frozen_reason(self.shell.settings, item.key):
            yield "# " + printable(said(reason))
        if item.scope == "host":
            yield tr("The host has this from its start on: `sdterm host stop`, and the next one has the new value.")

    def selected(self) -> None:
        self.action_edit_setting()

    def _is_shown(self, setting: Setting, settings: Settings) -> bool:
        if self._changed_only and settings.values[setting.key].source == "default":
            return False
        text = normal(f"{setting.key} {setting.section} {tr(setting.sentence)} {setting.sentence}")
        return all(word in text for word in self._words)

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_edit_setting(self) -> None:
        if setting := self.chosen():
            edit(self.app, self.shell, setting, self._tell_changed)

    def _tell_changed(self, trouble: str) -> None:
        if trouble:
            self.say(trouble)
        else:
            self._show()

    def action_reset_setting(self) -> None:
        if setting := self.chosen():
            self._tell_changed(self.shell.write_setting(setting.key, None))

    def action_search_settings(self) -> None:
        self.query_one("#filter", Input).focus()

    @on(Input.Changed, "#filter")
    def _search(self, event: Input.Changed) -> None:
        self._words = normal(event.value).split()
        self._show()

    @on(Input.Submitted, "#filter")
    def _searched(self) -> None:
        self.table.focus()

    def action_changed_only(self) -> None:
        self._changed_only = not self._changed_only
        self._show()

    def action_translation_template(self) -> None:
        self.say(self.shell.write_template())


def settings_of(settings: Settings) -> Iterable[Setting]:
    """Those that can be seen there: a web page shows none that steers the host or names a file."""
    return (setting for setting in SETTINGS if not (settings["in_page"] and is_owners(setting.key)))


def edit(app: App[Any], shell: Shell, setting: Setting, tell: Callable[[str], object]) -> None:
    """Let a setting be changed. tell: is called with what is wrong, or with nothing once it is written."""
    from sdterm.tui.screens.pick import Pick, Type

    if reason := frozen_reason(shell.settings, setting.key):
        tell(said(reason))
        return
    now, choices = shown(shell.settings[setting.key]), _choices(app, shell, setting)

    def write(text: str) -> None:
        tell(shell.write_setting(setting.key, text))

    def picked(number: int | None) -> None:
        if number is not None:
            write(choices[number])
        elif setting.key == "theme":
            themes.choose(app, now)

    def typed(text: str | None) -> None:
        if text is not None:
            write(text)

    if choices:
        chosen = choices.index(now) if now in choices else None
        app.push_screen(Pick(setting.key, choices, chosen=chosen, try_out=_trying(app, setting, choices)), picked)
    else:
        app.push_screen(Type(setting.key, now, hint=printable(tr(setting.sentence), 68)), typed)


def _trying(app: App[Any], setting: Setting, choices: Sequence[str]) -> Callable[[int], object] | None:
    """What shows one of the choices as if it were taken."""
    return (lambda number: themes.choose(app, choices[number])) if setting.key == "theme" else None


def _choices(app: App[Any], shell: Shell, setting: Setting) -> list[str]:
    match setting.key:
        case "theme":
            return themes.names(app)
        case "language":
            return ["en", *languages(shell.language_sources())]
    if isinstance(setting.default, bool):
        return ["true", "false"]
    return [] if isinstance(setting.default, tuple) else [*setting.choices]  # several are typed


def shown(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

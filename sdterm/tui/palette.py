"""The command palette: actions, settings and all that can be chosen, found by the words that users type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option
from textual.worker import Worker, WorkerError

from sdterm.core.languages.translations import languages
from sdterm.core.settings.settings import Setting, frozen_reason
from sdterm.core.text import file_size, printable
from sdterm.tui import calls, themes
from sdterm.tui.actions import Action, actions_of
from sdterm.tui.commands import Command, found
from sdterm.tui.fields import ROWS, Field, parts
from sdterm.tui.keymap import shown
from sdterm.tui.language import tr
from sdterm.tui.messages import Fill
from sdterm.tui.screens.settings import SettingsScreen, edit, settings_of
from sdterm.tui.screens.settings import shown as value_shown
from sdterm.tui.shell import Desk, HasShell
from sdterm.tui.vocabulary import NAMES, unnamed
from sdterm.tui.widgets.rows import Options
from sdterm.tui.work import begin

if TYPE_CHECKING:
    from sdterm.api import Picture

_WHILE_DRAWING = {"stop", "stop_after"}
"""Actions that need a job which is drawn."""
_MOST = 100  # rows shown at once
_RECENT = 24  # pictures
_NARROW = 60  # cells of a row from which on it has room for a sentence
_GROUP, _NAME, _KEY = 10, 22, 6  # cells


class Palette(HasShell, ModalScreen[None]):
    """Finds a command by any word of it. below: the screen that it was opened on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("down,ctrl+n", "move(1)", show=False),
        Binding("up,ctrl+p", "move(-1)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("pageup", "move(-10)", show=False),
    ]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._below = below
        self._commands: list[Command] = []
        self._lists: list[Command] = []  # what only the host knows, once it has told it
        self._asking: Worker[None] | None = None
        self._found: list[Command] = []
        self._moved = False  # whether the cursor was moved since the last letter
        self._tried = False  # whether something is shown as if it were chosen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog palette") as dialog:
            dialog.border_title = tr("Commands")
            dialog.border_subtitle = tr("Enter does it, Esc leaves.")
            line = Input(compact=True, placeholder=tr("a command, setting, theme, sampler, model, image …"))
            line.cursor_blink = False
            yield line
            options = Options(markup=False, compact=True)
            options.can_focus = False
            yield options

    def on_mount(self) -> None:
        self._commands = [
            *_by_group({command.name: command for command in self._actions()}.values()),  # the nearest of a name
            *self._fields(),
            *self._settings(),
            *self._themes(),
            *self._languages(),
        ]
        self._show("")
        if self.shell.state.host == "up":
            self._asking = begin(self, self._ask_for_lists)

    # --- what there is ------------------------------------------------------------------------------------------------

    def _actions(self) -> Iterator[Command]:
        app, below = self.app, self._below
        focused = below.focused
        lists = [widget for widget in below.query("*") if hasattr(widget, "scopes")]
        nodes = [*(focused.ancestors_with_self if focused else ()), below, *lists, app, app.screen_stack[0]]
        for action in actions_of(self.shell.settings):
            if not action.palette or (action.id in _WHILE_DRAWING and not self.shell.state.runs):
                continue
            node = next((node for node in nodes if hasattr(node, f"action_{action.id}")), None)
            if node is not None:
                yield self._action(action, node)

    def _action(self, action: Action, node: DOMNode) -> Command:
        named = NAMES.get(action.id) or unnamed(action)
        words = f"{named.words} {named.name} {action.hint} {action.id} {action.title}"
        key = shown(self.shell.keys[action.id].split(",")[0])
        run = getattr(node, f"action_{action.id}")
        return Command(tr(named.group), tr(named.name), tr(action.title), run, words, key)

    def _fields(self) -> Iterator[Command]:
        values = self.shell.form.values()
        fields = [(tr("Form"), field) for row in ROWS for field in row]
        for part, its_own in parts(values).items():
            fields += [(tr(part), field) for field in its_own]
        for group, field in fields:
            value = "" if field.kind == "input" else printable(field.read(values), 100)
            about = tr("In the form: {value}", value=value or "-")
            words = " ".join(f"{row.name} {row.label} {row.sentence}" for row in field.rows)
            yield Command(group, tr(field.label), about, partial(self._go_to, field), words)

    def _go_to(self, field: Field) -> None:
        self.shell.go("generate")
        cast(Desk, self.app.screen).focus_field(field.id)

    def _settings(self) -> Iterator[Command]:
        for setting in settings_of(self.shell.settings):
            value = printable(value_shown(self.shell.settings[setting.key]), 20)
            words = f"{setting.sentence} {setting.section} {setting.a1111}"
            about = f"{value}: {tr(setting.sentence)}" if value else tr(setting.sentence)
            yield Command(tr("Setting"), setting.key, about, partial(self._edit, setting), words)

    def _edit(self, setting: Setting) -> None:
        edit(self.app, self.shell, setting, self._told)

    def _told(self, trouble: str) -> None:
        if trouble:
            self.shell.say(trouble)
        elif isinstance(self._below, SettingsScreen):
            self._below.up()

    def _themes(self) -> Iterator[Command]:
        for name in themes.names(self.app):
            yield Command(
                tr("Theme"),
                name,
                tr("Colours; up and down show them"),
                partial(self._write, "theme", name),
                "theme colours colors skin dark light",
                is_current=name == self.shell.settings["theme"],
                try_out=partial(themes.choose, self.app, name),
            )

    def _languages(self) -> Iterator[Command]:
        now = self.shell.settings["language"] or "en"
        for name in ("en", *languages(self.shell.language_sources())):
            run, about = partial(self._write, "language", name), tr("The language of the workstation")
            words = "language english translation localization"
            yield Command(tr("Language"), name, about, run, words, is_current=name == now)

    def _write(self, key: str, text: str) -> None:
        if trouble := frozen_reason(self.shell.settings, key) or self.shell.write_setting(key, text):
            self.shell.say(trouble)

    async def _ask_for_lists(self) -> None:
        asked = calls.catalogue(), calls.models(), calls.pictures(limit=_RECENT)
        for call in asked:  # past this screen, which is not at leisure while Enter waits
            self.app.post_message(call)
        catalogue, models, page = await asked[0].answer, await asked[1].answer, await asked[2].answer
        values = self.shell.form.values()
        for offer in catalogue.of("Sampler") if catalogue else ():
            self._lists.append(self._choice(tr("Sampler"), "sampler", offer.label, offer.note, values))
        own = self._choice(tr("Schedule"), "scheduler", "Automatic", tr("the sampler's own"), values)
        self._lists.append(own)
        for offer in catalogue.of("Scheduler") if catalogue else ():
            self._lists.append(self._choice(tr("Schedule"), "scheduler", offer.label, offer.note, values))
        for model in models or ():
            self._lists.append(self._choice(tr("Model"), "model", model.name, file_size(model.size), values))
        for picture in page.pictures if page else ():
            self._lists.append(self._picture(picture))
        if self._text() and not self._moved:  # without a word only what was there at once is listed
            self._show(self._text())

    def _choice(self, group: str, field: str, name: str, note: str, values: dict[str, Any]) -> Command:
        run = partial(self._choose, field, name)
        is_current = values.get(field) == name
        return Command(group, printable(name, 80), printable(note, 100) or group, run, field, is_current=is_current)

    def _choose(self, field: str, name: str) -> None:
        form = self.shell.form
        form.change(form.draft.but(**{field: name}))
        self.shell.say(
            tr("{name} is in the form now; {key} generates with it.", name=name, key=self.shell.key("generate"))
        )

    def _picture(self, picture: Picture) -> Command:
        name = (
            f"{picture.id}"
            if picture.seed is None
            else tr("{number} seed {seed}", number=picture.id, seed=picture.seed)
        )
        prompt = printable(picture.infotext.split("\n")[0], 200)
        run = partial(self.app.post_message, Fill(picture.infotext, "all"))
        return Command(tr("Image"), name, prompt, run, "recent load picture seed image")

    # --- finding ------------------------------------------------------------------------------------------------------

    def _text(self) -> str:
        return self.query_one(Input).value.strip()

    def _show(self, text: str) -> None:
        self._stop_trying()
        self._found = found([*self._commands, *self._lists], text)[:_MOST] if text else self._commands[:_MOST]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(row) for row in self._rows())
        if text and not self._found:
            options.add_option(Option(Text(tr("Nothing matches “{text}”.", text=printable(text, 40))), disabled=True))
        options.highlighted = 0 if text and self._found else None

    def _rows(self) -> Iterator[Content]:
        """The found ones, the group of each named where another one begins."""
        cells = min(self.app.size.width, 100) - 7
        before = ""
        for command in self._found:
            yield _row(command, cells, "" if command.group == before else command.group)
            before = command.group

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        self._moved = False
        self._show(event.value.strip())

    @on(Input.Submitted)
    async def _take(self) -> None:
        """Do what is highlighted. What was typed may be the name of something that only the host knows."""
        if self._asking and not self._moved and self._text():
            with suppress(WorkerError):  # the host went away
                await self._asking.wait()
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._found):
            self._leave_with(self._found[at])

    def _leave_with(self, command: Command) -> None:
        if not self.is_active:  # it was closed or covered while it asked
            return
        self._stop_trying()
        self.dismiss()
        self.app.call_later(command.run)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self._leave_with(self._found[event.option_index])

    def action_move(self, by: int) -> None:
        if not self._found:
            return
        options, last = self.query_one(OptionList), len(self._found) - 1
        at = options.highlighted
        options.highlighted = at = 0 if at is None else max(0, min(last, at + by))
        self._moved = True
        if try_out := self._found[at].try_out:
            self._tried = True
            try_out()
        else:
            self._stop_trying()

    def _stop_trying(self) -> None:
        if self._tried:
            self._tried = False
            themes.choose(self.app, self.shell.settings["theme"])

    def action_leave(self) -> None:
        self._stop_trying()
        self.dismiss()


def _by_group(commands: Iterable[Command]) -> list[Command]:
    """Those of a group beside each other, and the groups as they came."""
    groups: dict[str, list[Command]] = {}
    for command in commands:
        groups.setdefault(command.group, []).append(command)
    return [command for group in groups.values() for command in group]


def _row(command: Command, cells: int, group: str) -> Content:
    """One line: the group, the name, a sentence about it, its key, as far as there is room."""
    mark = "* " if command.is_current else "  "
    key = (f"{command.key:>{_KEY}}", "bold $text-primary")
    if cells < _NARROW:
        return Content.assemble(mark, set_cell_size(command.name, cells - _KEY - 3), " ", key)
    name = command.name if cell_len(command.name) >= _NAME else set_cell_size(command.name, _NAME)
    left = max(0, cells - _GROUP - len(mark) - cell_len(name) - 1 - _KEY)
    said = (_cut(command.about, left), "$muted")
    return Content.assemble((set_cell_size(group, _GROUP), "$muted"), mark, (name, "bold"), " ", said, key)


def _cut(text: str, cells: int) -> str:
    whole = Text(text)
    whole.truncate(cells, overflow="ellipsis", pad=True)
    return whole.plain

"""Every field of the request, in one list."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.tui.fields import DEFAULTS, Field, RefusedTextError
from sdterm.tui.language import said, tr
from sdterm.tui.messages import PickValue
from sdterm.tui.shell import HasShell
from sdterm.tui.typed import value_of
from sdterm.tui.widgets.rows import Options


class ParametersScreen(HasShell, ModalScreen[None]):
    """All parameters: Enter changes one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", show=False),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
        Binding("d,delete", "reset", show=False),
    ]

    _picking = False  # whether a value is being picked on another screen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = tr("All parameters")
            dialog.border_subtitle = tr("Enter changes, d takes the default, Esc leaves.")
            yield Options(markup=False, compact=True)
            yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        self._show()

    def on_screen_resume(self) -> None:
        if self._picking:
            self._picking = False
            self._show()

    def _show(self) -> None:
        self._names = [*DEFAULTS]
        values, given = self.shell.form.values(), self.shell.form.draft.fields
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options(
            [
                Option(Text(f"{'*' if name in given else ' '} {name:<22} {_shown(values.get(name))}", no_wrap=True))
                for name in self._names
            ]
        )
        options.highlighted = at

    @on(OptionList.OptionHighlighted)
    def _tell(self, event: OptionList.OptionHighlighted) -> None:
        field = FIELDS[self._names[event.option_index]]
        self.query_one("#about", Static).update(tr(field.sentence))

    @on(OptionList.OptionSelected)
    def _change(self, event: OptionList.OptionSelected) -> None:
        from sdterm.tui.screens.pick import Type

        name = self._names[event.option_index]
        field = Field((FIELDS[name],))
        if field.kind == "choice":
            self._picking = True
            self.post_message(PickValue(field))
            return
        if field.kind == "switch":
            self._set(name, str(field.read(self.shell.form.values()) == "off").lower())
            return

        def typed(text: str | None) -> None:
            if text is not None:
                self._set(name, text)

        self.app.push_screen(Type(name, _shown(self.shell.form.values().get(name)), hint=_describe(name)), typed)

    def _set(self, name: str, text: str) -> None:
        from sdterm.request import RequestError, make_request

        try:
            value = value_of(name, Field((FIELDS[name],)).settled(text))
            make_request(prompt="x", **{name: value})
        except (RequestError, RefusedTextError) as error:
            self.app.notify(printable(said(str(error))), severity="error", markup=False)
        else:
            self.shell.form.change(self.shell.form.draft.but(**{name: value}), name)
        self._show()

    def action_reset(self) -> None:
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            name = self._names[highlighted]
            self.shell.form.change(self.shell.form.draft.but(**{name: None}), name)
            self._show()

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        options.highlighted = ((options.highlighted or 0) + by) % len(self._names)


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return printable(", ".join(map(str, value)))
    if isinstance(value, dict):
        return printable(", ".join(f"{key}={item}" for key, item in value.items()))
    return "" if value is None else printable(f"{value:g}" if isinstance(value, float) else str(value))


def _describe(name: str) -> str:
    from sdterm.request import describe

    return tr("It must be {range}.", range=describe(name))

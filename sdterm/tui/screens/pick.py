"""Small screens over the others: choose one of a list, answer a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from sdterm.core.names import normal
from sdterm.core.text import printable
from sdterm.tui.language import tr
from sdterm.tui.shell import HasShell
from sdterm.tui.widgets.rows import Options

_MOST = 300  # rows shown at once; typing narrows them down


class Pick(HasShell, ModalScreen[int | None]):
    """Choose one of many by typing a part of it: its number, or None. words: what was typed of it already. try_out: is
    called with each that is highlighted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("down,ctrl+n", "move(1)", show=False),
        Binding("up,ctrl+p", "move(-1)", show=False),
        Binding("pagedown", "move(8)", show=False),
        Binding("pageup", "move(-8)", show=False),
    ]

    def __init__(
        self,
        title: str,
        rows: Sequence[str],
        *,
        chosen: int | None = None,
        words: str = "",
        try_out: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._rows, self._chosen, self._words = title, rows, chosen, words
        self._try_out = try_out
        self._shown: list[int] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = tr("Type to narrow down; Enter takes it, Esc leaves.")
            search = Input(self._words, compact=True, placeholder=tr("search"), select_on_focus=False)
            search.cursor_blink = False
            yield search
            options = Options(markup=False, compact=True)
            options.can_focus = False
            yield from self.beside(options)

    def beside(self, options: OptionList) -> Iterable[Widget]:
        """The list, and what stands beside it."""
        yield options

    def on_mount(self) -> None:
        self._show(self._words)
        if self._chosen is not None and self._chosen in self._shown and not self._words:
            self.query_one(OptionList).highlighted = self._shown.index(self._chosen)

    def _show(self, words: str) -> None:
        parts = normal(words).split()
        found = [i for i, row in enumerate(self._rows) if all(part in normal(row) for part in parts)]
        if parts:  # the one that is called that comes first, then those that begin like that
            found.sort(key=lambda i: _distance(self._rows[i], normal(words)))
        self._shown = found[:_MOST]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(Text(self._row(i), no_wrap=True)) for i in self._shown])
        options.highlighted = 0 if self._shown else None

    def _row(self, number: int) -> str:
        """With a mark on what is chosen now, in a list where something is."""
        mark = "" if self._chosen is None else "* " if number == self._chosen else "  "
        return mark + printable(self._rows[number], 300)

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        self._show(event.value)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._shown):
            self.look_at(self._shown[event.option_index])

    def look_at(self, number: int) -> None:
        """That row is highlighted now."""
        if self._try_out:
            self._try_out(number)

    @on(Input.Submitted)
    def _take(self) -> None:
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is None:
            words = printable(self.query_one(Input).value, 40)
            self.shell.say(tr("{title}: nothing matches {words}; it stays as it is.", title=self._title, words=words))
        self.dismiss(self._shown[highlighted] if highlighted is not None else None)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        if self._shown:
            last = len(self._shown) - 1
            options.highlighted = max(0, min(last, (options.highlighted or 0) + by))

    def action_leave(self) -> None:
        self.dismiss(None)


def _distance(row: str, words: str) -> int:
    name = normal(row.strip("* ").partition("  ")[0])
    return 0 if name == words else 1 if name.startswith(words) else 2


class Ask(ModalScreen[str | None]):
    """A question with some answers, each by a key: that key, or None for Esc. otherwise: what Esc does."""

    def __init__(
        self, title: str, lines: Iterable[str], answers: Sequence[tuple[str, str]], *, otherwise: str = ""
    ) -> None:
        super().__init__()
        self._title, self._lines, self._answers = title, list(lines), answers
        self._otherwise = otherwise or tr("go back, change nothing")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._title
            if self._lines:
                yield Static(Text("\n".join(printable(line, 400) for line in self._lines) + "\n"))
            named = (("Enter" if key == "enter" else key, printable(words, 200)) for key, words in self._answers)
            keys = [
                part
                for key, words in (*named, ("Esc", self._otherwise))
                for part in ((f" {key:>5} ", "bold $text-primary"), f" {words}\n")
            ]
            yield Static(Content.assemble(*keys).rstrip())

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key == "escape":
            self.dismiss(None)
        elif event.key in (key for key, _ in self._answers):
            self.dismiss(event.key)


class Type(ModalScreen[str | None]):
    """One line to type: the text, or None. goes_on: the value is the beginning of what is typed. refusal: why a text
    cannot be taken, or nothing; the question stays until one can."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(
        self,
        title: str,
        value: str = "",
        *,
        hint: str = "",
        goes_on: bool = False,
        refusal: Callable[[str], str] = lambda text: "",
    ) -> None:
        super().__init__()
        self._title, self._value, self._hint, self._goes_on = title, value, hint, goes_on
        self._refusal = refusal

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog small") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = self._hint or tr("Enter takes it, Esc leaves.")
            line = Input(self._value, compact=True, select_on_focus=not self._goes_on)
            line.cursor_blink = False
            yield line
            why = Static(id="why", markup=False)
            why.display = False
            yield why

    @on(Input.Submitted)
    def _take(self, event: Input.Submitted) -> None:
        if said := self._refusal(event.value):
            why = self.query_one("#why", Static)
            why.update(Text(said))
            why.display = True
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)

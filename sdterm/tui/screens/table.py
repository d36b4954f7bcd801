"""A screen that is a table with some words about the row that is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import DataTable, Static

from sdterm.tui.language import tr
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.bars import KeyBar
from sdterm.tui.widgets.rows import Table, cell

R = TypeVar("R")


class TableScreen(BaseScreen, Generic[R]):
    """Rows of one kind. What Enter does is `selected`."""

    AUTO_FOCUS = "DataTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.rows: Sequence[R] = ()
        self._is_known = False  # whether the rows are those that there are

    def columns(self) -> Iterable[tuple[str, int]]:
        """Titles and widths in cells; the last one takes what there is."""
        raise NotImplementedError

    def row(self, item: R) -> Sequence[str]:
        """What stands in an item's row."""
        raise NotImplementedError

    def empty(self) -> Text:
        """What is said, and what to do next, where there is nothing."""
        return Text()

    def about(self, item: R) -> Iterable[str]:
        """The lines about the item that is chosen."""
        raise NotImplementedError

    def heading(self, item: R) -> str:
        """What stands in the border of those lines."""
        return ""

    def selected(self) -> None:
        """Enter was pressed."""
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        yield Table(cursor_type="row")
        yield Static(classes="words", markup=False)

    def on_mount(self) -> None:
        self.table.head(self.columns())
        self._tell()
        self.up()

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def show(self, rows: Sequence[R], cursor: int, title: str | Content) -> None:
        """Other rows."""
        self.rows, self._is_known = rows, True
        self.table.clear()
        for item in rows:
            self.table.add_row(*map(cell, self.row(item)))
        self.table.move_cursor(row=max(0, min(cursor, len(rows) - 1)))
        self.table.border_title = title
        self._tell()

    def chosen(self) -> R | None:
        """The item under the cursor."""
        at = self.table.cursor_row
        return self.rows[at] if 0 <= at < len(self.rows) else None

    def action_cursor(self, by: int) -> None:
        self.table.move_cursor(row=self.table.cursor_row + by)

    @on(DataTable.RowHighlighted)
    def _tell(self) -> None:
        item = self.chosen()
        self.table.say_nothing(self.empty() if self._is_known else Text(tr("Loading …")))
        self.set_class(item is None, "-empty")
        words = self.query_one(".words", Static)
        words.border_title = self.heading(item) if item is not None else ""
        words.update(Text("\n".join(self.about(item) if item is not None else ())))
        self.query(KeyBar).refresh()

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.selected()

"""Lists in which a bar stands before the row that is chosen: its colour alone would tell nobody who sees none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.strip import Strip
from textual.widgets import DataTable, OptionList

from sdterm.tui.widgets.invitation import in_the_middle

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual styles a class as the first of its bases that is a widget

BAR = "▌"
"""Stands in the first cell, which each row leaves empty."""
_READABLE = 60  # cells of a line of words in an empty list


def cell(text: str) -> Text:
    """A text in a table's cell; one that is cut ends in a sign."""
    return Text(text, no_wrap=True, overflow="ellipsis")


class _Barred(Widget):
    """A list of lines."""

    def barred(self, strip: Strip) -> Strip:
        """The line of the chosen row."""
        background = next((part.style for part in strip if part.style), None)
        style = self.get_component_rich_style("rows--bar", partial=True)
        return Strip.join([Strip([Segment(BAR, background + style if background else style)], 1), strip.crop(1)])


class Table(_Barred, DataTable[Text]):
    """Rows of cells, each one line high."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--bar", "line--key"}

    _nothing: tuple[Text, list[Strip]] = Text(), []
    _widths: Sequence[int] = ()

    def head(self, columns: Iterable[tuple[str, int]]) -> None:
        """Begin anew with these columns, by their titles and widths; none is narrower than its title, which other
        languages have longer."""
        self.clear(columns=True)
        titles, widths = zip(*columns, strict=True)
        self._widths = [max(width, cell_len(title)) for title, width in zip(titles, widths, strict=True)]
        for title, width in zip(titles, self._widths, strict=True):
            self.add_column(cell(title), width=width)
        self.fit()

    def say_nothing(self, said: Text) -> None:
        """What stands in the middle where there are no rows."""
        self._nothing = said, []
        if not self.row_count:
            self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._nothing = self._nothing[0], []
        self.fit()

    def watch_show_vertical_scrollbar(self) -> None:
        self.call_after_refresh(self.fit)

    def fit(self) -> None:
        """Let the last column that has room end where the table does, so that what is cut there says so."""
        left, padding = self.scrollable_content_region.width, 2 * self.cell_padding
        for column, width in zip(self.ordered_columns, (*self._widths[:-1], left), strict=True):
            column.width = max(cell_len(column.label.plain), min(width, left - padding))
            left -= column.width + padding
        self._clear_caches()
        self._require_update_dimensions = True
        self.refresh()

    def render_line(self, y: int) -> Strip:
        said, lines = self._nothing
        if said and not self.row_count:
            if len(lines) != self.size.height:
                lines = in_the_middle(said, self, most=_READABLE)
                self._nothing = said, lines
            return lines[y]
        strip = super().render_line(y)
        if self.app.no_color:  # Textual fails there on empty segments that have no style
            strip = Strip((part for part in strip if part.text), strip.cell_length)
        at = self.cursor_row + self.header_height - self.scroll_offset.y
        return self.barred(strip) if self.row_count and y == at >= self.header_height else strip


class Options(_Barred, OptionList):
    """Rows of text; those that do not fit a line end in the next one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--bar"}

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        line = self.scroll_offset.y + y
        is_chosen = line < len(self._lines) and self._lines[line][0] == self.highlighted
        return self.barred(strip) if is_chosen else strip

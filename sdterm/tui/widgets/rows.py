"""Lists in which a bar stands before the row that is chosen: its colour alone would tell nobody who sees none."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widgets import DataTable, OptionList

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual styles a class as the first of its bases that is a widget

BAR = "▌"
"""Stands in the first cell, which each row leaves empty."""


class _Barred(Widget):
    """A list of lines."""

    def barred(self, strip: Strip) -> Strip:
        """The line of the chosen row."""
        background = next((part.style for part in strip if part.style), None)
        style = self.get_component_rich_style("rows--bar", partial=True)
        return Strip.join([Strip([Segment(BAR, background + style if background else style)], 1), strip.crop(1)])


class Table(_Barred, DataTable[Text]):
    """Rows of cells, each one line high."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--bar"}

    _nothing = ""

    def say_nothing(self, said: str) -> None:
        """What stands in the middle where there are no rows."""
        self._nothing = said
        if not self.row_count:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._nothing and not self.row_count and y >= self.header_height:
            return self._said(y)
        strip = super().render_line(y)
        if self.app.no_color:  # Textual fails there on empty segments that have no style
            strip = Strip((part for part in strip if part.text), strip.cell_length)
        at = self.cursor_row + self.header_height - self.scroll_offset.y
        return self.barred(strip) if self.row_count and y == at >= self.header_height else strip

    def _said(self, y: int) -> Strip:
        (width, height), style = self.size, self.rich_style
        lines = Text(self._nothing, justify="center").wrap(self.app.console, max(1, width - 2))
        at = y - max(self.header_height, (height - len(lines)) // 2)
        text = lines[at].plain.rstrip() if 0 <= at < len(lines) else ""
        return Strip([Segment(f" {text}", style)]).adjust_cell_length(width, style)


class Options(_Barred, OptionList):
    """Rows of text; those that do not fit a line end in the next one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--bar"}

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        line = self.scroll_offset.y + y
        is_chosen = line < len(self._lines) and self._lines[line][0] == self.highlighted
        return self.barred(strip) if is_chosen else strip

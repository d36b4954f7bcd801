"""What a widget says in its lower border, at the cost of that line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.text import Text
from textual.geometry import Region

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual styles a class as the first of its bases that is a widget


class SaysBelow(Widget):
    """A widget whose lower border says something that changes often. Textual paints all of a widget for that."""

    _in_border = False

    def say_below(self, said: str | Text) -> None:
        self._in_border, told = True, self.border_subtitle
        self.border_subtitle = said
        self._in_border = False
        if self.border_subtitle != told:
            left, top = self.gutter.left, self.gutter.top
            self.refresh(Region(-left, self.outer_size.height - top - 1, self.outer_size.width, 1))

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        if self._in_border:
            return self
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

"""What all screens share: a line above, three lines below, and how they hear what happens."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from sdterm.tui.language import said, tr
from sdterm.tui.shell import HasShell
from sdterm.tui.widgets.bars import KeyBar, Note, StatusLine, TopBar

if TYPE_CHECKING:
    from sdterm.api import Entry

SMALLEST = (40, 12)
_SETTLED_AT_LAST = 1.0  # seconds
_SETTLED = 0.15  # seconds without another size
WIDTHS = {"-narrow": range(60), "-slim": range(60, 80), "-normal": range(80, 110), "-wide": range(110, 10**6)}
HEIGHTS = {"-flat": range(20), "-low": range(20, 24), "-tall": range(24, 10**6), "-roomy": range(32, 10**6)}
"""The classes by which the stylesheet lays a screen out, and the cells they are for."""


class BaseScreen(HasShell, Screen[None]):
    """One of the screens that the top line names, or a part of one."""

    tab: str = ""
    """The action that opens it: which of the top line's names is in brackets. A part of another screen has its."""

    def compose(self) -> ComposeResult:
        if not self.tab:
            below = (screen.tab for screen in reversed(self.app.screen_stack) if isinstance(screen, BaseScreen))
            self.tab = next(filter(None, below))
        self._fit(self.app.size)  # so that nothing is painted that the first size would change
        yield TopBar(self.tab)
        yield from self.body()
        yield Note()
        yield StatusLine()
        yield KeyBar()

    def body(self) -> Iterable[Widget]:
        """What is between the lines."""
        return ()

    def say(self, text: str, *, standing: bool = False) -> None:
        """Tell something in the line for that. standing: it holds until it is taken back, and is no event to look up
        later; everything else goes after some time, and is kept among the messages."""
        text = said(text)
        if text and not standing:
            self.shell.keep_said(text)
        for note in self.query(Note):  # none while the screen closes
            note.say(text, standing=standing)

    def outdate(self, text: str) -> None:
        """That was told on another screen: what passes by is not old news here."""
        text = said(text)
        for note in self.query(Note):
            if note.text and not note.stands:
                note.say(text)

    def unsay(self, text: str) -> None:
        """Take that back, if it still stands there."""
        text = said(text)
        for note in self.query(Note):
            if note.text == text:
                note.say("", standing=True)

    def happened(self, entry: Entry) -> None:
        """Something happened on the host; called only while the screen exists."""

    def marked(self) -> None:
        """Other pictures are marked now."""
        self.query(KeyBar).refresh()

    def up(self) -> None:
        """The host is there (again): what was shown may be old."""

    def leave(self) -> None:
        """Leave this screen, and with it what was opened over it."""
        while self.app.screen is not self:
            self.app.pop_screen()
        self.dismiss()

    def place(self) -> object:
        """Where the user is in it; None if that is nothing to keep."""
        return None

    def come_back(self, place: object) -> None:
        """Begin at the `place` of a screen that this one replaces."""

    def on_screen_resume(self) -> None:
        self.query(StatusLine).refresh()  # there is none while the screen closes, or is made anew in another language

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._focused_last = event.widget
        self.query(KeyBar).refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size)
        if self._settling:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLED, partial(self._settle, again=True))

    _settling: Timer | None = None
    _focused_last: Widget | None = None  # what is hidden has no focus, and gets it back

    def _fit(self, size: Size) -> None:
        least, needed = SMALLEST
        small = size.width < least or size.height < needed
        said = tr("The terminal is too small: {width}x{height} is needed.", width=least, height=needed)
        if small:
            self.say(said, standing=True)
        else:
            self.unsay(said)
        fits = {name: size.width in cells for name, cells in WIDTHS.items()}
        fits |= {name: size.height in cells for name, cells in HEIGHTS.items()}
        self.update_classes({**fits, "-small": small}, animate=False)

    def settled(self) -> bool:
        """Whether nothing more is to be painted for the last size."""
        return not self._settling

    def _settle(self, again: bool = False) -> None:
        """Sizes came one after the other, and with each other widgets: what was hidden lost the focus, and parts of
        what is there again may not have been painted, or for a size in between. `again`: and once more, since Textual
        drops what it would paint while widgets come and go, as on a busy machine they still may."""
        self._fit(self.app.size)
        if self.focused is None and self.AUTO_FOCUS and not self.has_class("-small"):
            before = self._focused_last
            there = [before] if before and before.is_attached else [*self.query(self.AUTO_FOCUS).results(Widget)]
            for found in there[:1]:  # none while the form is made anew
                found.focus()
        for widget in self.walk_children():
            widget.refresh()
        self.app.refresh(repaint=True, layout=True)
        self._settling = self.set_timer(_SETTLED_AT_LAST, self._settle) if again else None

"""What pictures need from the terminal and Textual does not tell: which cells were just written over, when the terminal
has read what was written, and what it says of itself."""

import asyncio
import os
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from textual._compositor import ChopsUpdate, CompositorUpdate
from textual.app import App
from textual.events import CursorPosition
from textual.geometry import Region, Size

from sdterm.tui.paper import Paper
from sdterm.tui.picture.cell import cell_size
from sdterm.tui.picture.line import IN_TMUX, Line
from sdterm.tui.picture.support import Terminal, has_colours

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from textual.driver import Driver
    from textual.screen import Screen
    from textual.timer import Timer

    from sdterm.tui.picture.driver import TerminalAnswered

ReturnType = TypeVar("ReturnType")

_WHERE_IS_THE_CURSOR = "\x1b[6n"  # every terminal answers it, tmux for itself; Textual reads the answer as an event
_PATIENCE = 2.0  # seconds, from when all was written, that a terminal has which was never heard
_GREAT_PATIENCE = 10.0  # and one that was
_SILENCES = 2  # so often unanswered, and it is asked no more
_POLL = 0.02
_REST = 0.05  # seconds without text over drawn pixels, and they are drawn again: opening a screen takes several writes


class View(Protocol):
    """A widget with a picture, as the application sees it."""

    @property
    def screen(self) -> "Screen[Any]": ...
    @property
    def region(self) -> Region: ...
    @property
    def content_region(self) -> Region: ...

    def refresh(self, *regions: Region) -> object: ...

    def visible_area(self) -> Region | None:
        """Where on the screen all of the picture's cells are to be seen."""

    def pixels(self, area: Region) -> str:
        """The escape sequences that draw the picture there."""

    def painted(self, cells: int | None = None) -> None:
        """The cells of the newest picture were written, in so many bytes (unset: as many as they take whole)."""


class PictureApp(App[ReturnType]):
    """An app in which a PictureView can show pixels and be paced."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.drawings: set[View] = set()  # the views whose pixels are to be drawn over their cells
        self.unpainted: set[View] = set()  # the views whose newest picture was not yet written
        self.paper = Paper(colours=has_colours(os.environ) and not self.no_color)
        self.line = Line(IN_TMUX) if os.environ.get("TMUX") else Line()
        self.known = Terminal(os.environ)
        self._writer: object = None  # writes to the terminal as long as it is ours
        self._drawn: dict[View, Region] = {}  # where their pixels are
        self._erased: set[View] = set()  # those whose cells were written over since
        self._rest: Timer | None = None
        self._questions: deque[asyncio.Future[None]] = deque()  # about the cursor
        self._asked: asyncio.Future[None] | None = None  # what the terminal is
        self._heard = False
        self._silences = 0

    def get_driver_class(self) -> "type[Driver]":
        usual = super().get_driver_class()
        if usual.__name__ != "LinuxDriver":
            return usual
        from sdterm.tui.picture.driver import AskingDriver

        return AskingDriver

    def cell_size(self) -> tuple[int, int]:
        """Width and height of a character in pixels."""
        return cell_size(self.known.heard.cell if self.known.heard else None)

    @property
    def colours_of_sixel(self) -> int:
        """Of one picture, at most; 0 where nobody knows."""
        return self.known.heard.colours if self.known.heard else 0

    def ask_terminal(self, questions: str) -> bool:
        """Write these; each answer is a `TerminalAnswered`, sooner or later. False: there is nobody to ask."""
        ask = getattr(self._driver, "ask", None)
        if not questions or ask is None:
            return False
        self._asked = asyncio.get_running_loop().create_future()
        ask(questions, (self.size.width, self.size.height))
        self.set_timer(_GREAT_PATIENCE, self._expect_no_answer)
        return True

    def on_terminal_answered(self, event: "TerminalAnswered") -> None:
        if event.is_all:
            self._expect_no_answer()

    def _expect_no_answer(self) -> None:
        if self._asked and not self._asked.done():
            self._asked.set_result(None)

    async def terminal_has_answered(self) -> None:
        """Wait until the terminal has answered everything that it was asked, or will not: whoever has the terminal next
        would be given the rest as key presses."""
        if open_questions := [*self._questions, *([self._asked] if self._asked else [])]:
            await asyncio.wait(open_questions, timeout=_PATIENCE)

    def write_to_terminal(self, sequence: str) -> None:
        """Write behind all that Textual has written. While the app is suspended the terminal is another's."""
        writer = getattr(self._driver, "_writer_thread", None)
        if sequence and writer is not None and writer.is_alive():
            writer.write(sequence)

    async def line_is_measured(self, nbytes: int, since: float) -> bool:
        """Wait until the terminal has read so many bytes, the first of which were written then, and know the line by
        that; behind tmux that cannot be."""
        if os.environ.get("TMUX") or not await self.terminal_has_read():
            return False
        self.line.measured(nbytes, time.monotonic() - since)
        return True

    async def terminal_has_read(self) -> bool:
        """Wait until the terminal has read all that was written so far. True: it said so; False: it does not answer,
        and the operating system has taken all."""
        if getattr(self._driver, "_writer_thread", None) is None:
            return False
        if self._silences >= _SILENCES:
            await self._written_out()
            return False
        answer = asyncio.get_running_loop().create_future()
        self._questions.append(answer)
        self.write_to_terminal(_WHERE_IS_THE_CURSOR)
        await self._written_out()
        await asyncio.wait([answer], timeout=_GREAT_PATIENCE if self._heard else _PATIENCE)
        if answer.done():
            return True
        self._silences += 1
        self._questions.clear()
        return False

    def on_cursor_position(self, event: CursorPosition) -> None:
        self._heard, self._silences = True, 0
        if self._questions and not (answer := self._questions.popleft()).done():
            answer.set_result(None)

    def _display(self, screen: "Screen[Any]", renderable: "RenderableType | None") -> None:
        if not isinstance(renderable, CompositorUpdate) or self._batch_count:
            super()._display(screen, renderable)
            return
        if (writer := getattr(self._driver, "_writer_thread", None)) is not self._writer:
            self._writer = writer  # another program had the terminal
            self._forget_all()
        for view, area in tuple(self._drawn.items()):
            if view.screen is not screen or view.visible_area() != area:
                self.undraw(view)
        update = _OnPaper(renderable, self.paper, self.size)
        super()._display(screen, update)
        spans = renderable.spans if isinstance(renderable, ChopsUpdate) else None
        for view in self.drawings:
            area = view.visible_area() if view.screen is screen else None
            written = update.spans if view in self._drawn and update.spans is not None else spans
            if area and (written is None or _touch(written, area)):
                self._erased.add(view)
        for view in tuple(self.unpainted):
            if view.screen is screen and (spans is None or _touch(spans, view.region)):
                view.painted(None if update.spans is None else update.nbytes)
        if self._erased:
            if self._rest is not None:
                self._rest.stop()
            self._rest = self.set_timer(_REST, self.draw_over_cells)

    def on_resize(self) -> None:
        self._forget_all()  # terminals move and cut lines in ways of their own

    def _forget_all(self) -> None:
        self._drawn.clear()
        self.paper.forget()

    def repaint(self) -> None:
        """Write the whole screen again, whatever is there."""
        self._forget_all()
        self.screen.refresh()

    def draw_over_cells(self) -> None:
        """Draw the pictures that text has wiped out, but none on a screen below another."""
        for view in self._erased & self.drawings:
            if view.screen is self.screen and (area := view.visible_area()):
                self.write_to_terminal(view.pixels(area))
                self._drawn[view] = area
                if self.known.clears_a_column_more:
                    edge = Region(area.right, area.y, 1, area.height)
                    self.paper.forget(edge)
                    view.refresh(edge.translate(-view.content_region.offset))
        self._erased.clear()

    def undraw(self, view: View) -> None:
        """Have the cells of its drawn picture written again, which wipes it out, when they are painted next."""
        if area := self._drawn.pop(view, None):
            self.paper.forget(area)

    async def _written_out(self) -> None:
        """Wait until Textual's writer has nothing left and the terminal's queue is empty. (A pseudo terminal under
        Linux has no such queue: what its reader has not taken fills a buffer of some KB and then blocks the writer.)"""
        writer = getattr(self._driver, "_writer_thread", None)
        if writer is None:
            return
        # The second empty text is taken only after the first was written and flushed, and so all before.
        for _ in range(2):
            while writer._queue.qsize():
                await asyncio.sleep(_POLL)
            writer.write("")
        while writer._queue.qsize() or _unsent(writer.fileno()):
            await asyncio.sleep(_POLL)


class _OnPaper(CompositorUpdate):
    """An update of which only what is new is written."""

    def __init__(self, update: CompositorUpdate, paper: Paper, size: Size) -> None:
        self._update, self._paper, self._size = update, paper, size
        self.spans: list[tuple[int, int, int]] | None = None
        """What was written, once something was."""
        self.nbytes = 0

    def render_segments(self, console: "Console") -> str:
        text, self.spans = self._paper.write(self._update, self._size.width, self._size.height, console)
        self.nbytes = len(text.encode())
        return text


def _touch(spans: list[tuple[int, int, int]], area: Region) -> bool:
    return any(area.y <= y < area.bottom and x1 < area.right and area.x < x2 for y, x1, x2 in spans)


def _unsent(file: int) -> int:
    try:
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(file, termios.TIOCOUTQ, bytes(4)))[0])
    except (ImportError, OSError, ValueError):
        return 0

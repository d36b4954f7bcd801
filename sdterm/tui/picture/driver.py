"""Textual's driver for Linux and macOS, which also hears what the terminal says of itself: Textual would turn such
answers into key presses, whenever they come. A paste is text to it, whatever is in it. And it ends where the terminal
is gone: Textual may wait for it for ever."""

import os
import select
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

from textual import constants, events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from sdterm.tui.picture.asking import Answers, Ear
from sdterm.tui.picture.paste import START, Marker, PasteFilter

_TOO_LATE = 5.0  # seconds after a piece of an answer, when no more of it is to be expected
_LOOK_EVERY = 0.1  # seconds, as Textual does


class TerminalAnswered(Message):
    """The terminal said something of itself."""

    def __init__(self, answers: Answers, is_all: bool) -> None:
        """is_all: there was nothing else to say."""
        super().__init__()
        self.answers = answers
        self.is_all = is_all


class AnswerFilter:
    """Takes the answers out of what is typed, as long as some are awaited."""

    def __init__(self) -> None:
        self._ear: Ear | None = None
        self._since = 0.0

    def listen(self, size: tuple[int, int]) -> None:
        """Questions were asked; size: columns and rows of the terminal."""
        self._ear = Ear(size)

    def sift(self, text: str) -> Iterator[TerminalAnswered | str]:
        """What arrived, in its order: texts that were typed, and answers."""
        if self._ear is None:
            yield text
            return
        if isinstance(text, Marker):  # a paste began with what was held for an answer
            if START.startswith(self._ear.held):
                yield self._ear.held
                self._ear.held = ""
            yield text
            return
        for part in self._ear.sift(text):
            if isinstance(part, str):
                yield part
                continue
            yield TerminalAnswered(*part)
            if part[1]:
                self._ear = None
        self._since = time.monotonic()

    def overdue(self) -> str:
        """What was held for more of an answer that does not come, if it may have been typed."""
        if self._ear is None or not self._ear.held:
            return ""
        typed = self._ear.holds_a_key
        if time.monotonic() - self._since < (constants.ESCAPE_DELAY if typed else _TOO_LATE):
            return ""
        held, self._ear.held = self._ear.held, ""
        return held if typed else ""


class Arriving:
    """What a terminal sends, as messages."""

    def __init__(self, answers: AnswerFilter, debug: bool = False) -> None:
        self._pastes, self._answers, self._parser = PasteFilter(), answers, XTermParser(debug)

    def messages(self, text: str) -> Iterator[Message]:
        """Keys, pastes and answers in their order, of what arrived; also of nothing, once more of it is late."""
        for part in (*self._sift(text), self._answers.overdue()):
            if isinstance(part, Message):
                yield part
            elif part:  # to a parser, no text is the end
                for message in self._parser.feed(part):
                    if not isinstance(part, Marker):
                        yield message
        yield from self._parser.tick()

    def _sift(self, text: str) -> Iterator[str | Message]:
        """Pastes first, since there is nothing else in one."""
        for part in (*self._pastes.sift(text), *self._pastes.overdue()):
            if isinstance(part, events.Paste):
                yield part
            else:
                yield from self._answers.sift(part)


class Lenient:
    """A terminal that may be gone: then it does not matter what is written. (An error would end the thread that writes,
    and the app would wait for it for ever.)"""

    def __init__(self, file: TextIO | None) -> None:
        assert file is not None  # Textual has looked
        self._terminal = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._terminal.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._terminal.flush()

    def fileno(self) -> int:
        return self._terminal.fileno()


class AskingDriver(LinuxDriver):
    """The driver of an app that may ask the terminal what it is and has."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file = Lenient(self._file)  # type: ignore[assignment]
        self._filter = AnswerFilter()

    def ask(self, questions: str, size: tuple[int, int]) -> None:
        """Ask; a `TerminalAnswered` follows each time the terminal answers. size: its columns and rows."""
        self._filter.listen(size)
        self.write(questions)

    def run_input_thread(self) -> None:
        arriving = Arriving(self._filter, self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        # A terminal that is cut off sends SIGCONT, too, upon which Textual starts another thread and forgets this one.
        while self._key_thread is threading.current_thread() and not self.exit_event.is_set():
            text = ""
            if select.select([self.fileno], [], [], _LOOK_EVERY)[0]:
                data = os.read(self.fileno, 4096)
                if not data:  # nobody is there any more
                    self.exit_event.wait(_LOOK_EVERY)
                text = decode(data)
            for message in arriving.messages(text):
                self.process_message(message)

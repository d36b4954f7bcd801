"""Textual's driver for Linux and macOS, which also hears what the terminal calls itself: Textual would turn that answer
into key presses, whenever it comes. A paste is text to it, whatever is in it. And it ends where the terminal is gone:
Textual may wait for it for ever."""

import os
import re
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

from sdterm.tui.picture.paste import Marker, PasteFilter
from sdterm.tui.picture.support import ANSWER, QUESTION

_BEGUN = re.compile(r"\x1b(?:P(?:>(?:\|[^\x1b\x07\x9c]{0,200}\x1b?)?)?)?\Z")
_NO_KEYS = "\x1bP>|"  # nothing that is typed begins like this
_TOO_LATE = 5.0  # seconds after a piece of an answer, when no more of it is to be expected
_LOOK_EVERY = 0.1  # seconds, as Textual does


class TerminalNamed(Message):
    """The terminal said what it is."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class AnswerFilter:
    """Takes the answer out of what is typed, as long as one is awaited."""

    def __init__(self) -> None:
        self.awaits_answer = False
        self._held = ""  # what may be the beginning of an answer
        self._since = 0.0

    def sift(self, text: str) -> Iterator[TerminalNamed | str]:
        """What arrived, in its order: texts that were typed, and the answer."""
        text, self._held = self._held + text, ""
        if self.awaits_answer and (answer := ANSWER.search(text)):
            self.awaits_answer = False
            yield text[: answer.start()]
            yield TerminalNamed(answer[1])
            text = text[answer.end() :]
        if self.awaits_answer and (begun := _BEGUN.search(text)):
            text, self._held, self._since = text[: begun.start()], begun[0], time.monotonic()
        yield text

    def overdue(self) -> str:
        """What was held for more of an answer that does not come, if it may have been typed."""
        typed = not self._held.startswith(_NO_KEYS)
        if time.monotonic() - self._since < (constants.ESCAPE_DELAY if typed else _TOO_LATE):
            return ""
        held, self._held = self._held, ""
        return held if typed else ""


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
    """The driver of an app that may ask the terminal what it is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file = Lenient(self._file)  # type: ignore[assignment]
        self._filter = AnswerFilter()

    def ask(self) -> None:
        """Ask; a `TerminalNamed` follows if the terminal answers."""
        self._filter.awaits_answer = True
        self.write(QUESTION)

    def run_input_thread(self) -> None:
        parser, pastes = XTermParser(self._debug), PasteFilter()
        decode = getincrementaldecoder("utf-8")("replace").decode
        # A terminal that is cut off sends SIGCONT, too, upon which Textual starts another thread and forgets this one.
        while self._key_thread is threading.current_thread() and not self.exit_event.is_set():
            text = ""
            if select.select([self.fileno], [], [], _LOOK_EVERY)[0]:
                data = os.read(self.fileno, 4096)
                if not data:  # nobody is there any more
                    self.exit_event.wait(_LOOK_EVERY)
                text = decode(data)
            for part in (*self._sift(pastes, text), self._filter.overdue()):
                if isinstance(part, Message):
                    self.process_message(part)
                elif part:  # to a parser, no text is the end
                    for message in parser.feed(part):
                        if not isinstance(part, Marker):
                            self.process_message(message)
            for message in parser.tick():
                self.process_message(message)

    def _sift(self, pastes: PasteFilter, text: str) -> Iterator[str | Message]:
        """What arrived, in its order: pastes first, since there is nothing else in one."""
        for part in (*pastes.sift(text), *pastes.overdue()):
            if isinstance(part, events.Paste | Marker):
                yield part
            else:
                yield from self._filter.sift(part)

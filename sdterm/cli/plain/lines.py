"""Lines in and lines out: of a person at a terminal, or of a program through a pipe."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import TextIO

from sdterm.core.text import printable

_LONGEST = 100_000  # characters


class Lines:
    """What is said and asked. At a terminal the lines that are typed can be edited and called back; through a pipe each
    one is repeated behind its question, so that what comes out can be read by itself."""

    def __init__(self, source: TextIO, target: TextIO) -> None:
        self._source, self._target = source, target
        for stream, errors in ((source, "replace"), (target, "backslashreplace")):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=errors)
        self.is_typed = source.isatty() and target.isatty()
        self._editor = _line_editor() if self.is_typed else None

    def say(self, text: str) -> None:
        """A line, or several, harmless to the terminal whatever is quoted in it."""
        for line in text.split("\n"):
            print(printable(line, _LONGEST), file=self._target)
        self._target.flush()

    def ask(self, question: str, before: Sequence[str] = ()) -> str | None:
        """The line that answers a question; None once there is no more. before: answers that can be called back, the
        latest last."""
        if self.is_typed:
            if self._editor:
                self._editor.clear_history()
                for line in before:
                    self._editor.add_history(line.replace("\n", " "))
            with suppress(EOFError):
                return input(f"{question} ")
            print(file=self._target)
            return None
        print(f"{question} ", end="", file=self._target, flush=True)
        line = self._source.readline()
        self.say(line.rstrip("\n"))
        return line.rstrip("\n") if line else None


def _line_editor() -> ModuleType | None:
    """readline, where Python has it, kept from everything that a terminal would have to obey."""
    try:
        import readline
    except ImportError:
        return None
    for setting in ("enable-bracketed-paste off", "enable-meta-key off", "bell-style none", "colored-stats off"):
        readline.parse_and_bind(f"set {setting}")
    readline.set_auto_history(False)
    return readline

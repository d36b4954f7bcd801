"""Bracketed pastes, cut out of what a terminal sends before anything else reads it: a paste is text, whatever is in it.
Textual's parser would take escape sequences inside one for keys, and wait for its end for ever."""

import re
import time
from collections.abc import Iterator

from textual import events

START, END = "\x1b[200~", "\x1b[201~"
_BEGUN = re.compile(r"\x1b\[(?:20{0,2})?\Z")  # of a start: no key stops there but Alt+[, which does nothing here
_TOO_LATE = 5.0  # seconds after which no more of a start is to be expected
_STALLED = 2.0  # seconds without more of a paste, after which what there is of it is handed on
_A_KEY = 16  # characters that a key press may have; what a slow line held up of a paste comes in bulk


class Marker(str):
    """What tells of a paste, for a parser to read; what comes of it is nothing."""


class PasteFilter:
    """Takes pastes out of what arrives, however it is cut into pieces."""

    def __init__(self) -> None:
        self._before = ""  # the last characters that arrived: a start may have begun there
        self._held = ""  # most of a start
        self._pasted: str | None = None  # of a paste that has not ended
        self._stalled = False
        self._since = 0.0

    def sift(self, text: str) -> Iterator[str | events.Paste]:
        """What arrived, in its order: texts that were typed, markers and pastes."""
        if text:
            self._since = time.monotonic()
        while text:
            if self._pasted is None:
                typed, text = self._typed(text)
                yield from typed
            else:
                pieces, text = self._paste(self._pasted, text)
                yield from pieces

    def _typed(self, text: str) -> tuple[list[str], str]:
        """What comes before the next paste, and the rest."""
        text, self._held = self._held + text, ""
        known = len(self._before)
        at = (self._before + text).find(START)
        if at >= 0:
            begun = max(0, at - known)
            end = at + len(START) - known
            self._before, self._pasted, self._stalled = "", "", False
            # a parser that saw the start's first characters waits for more; with the end it is where it was
            return [text[:begun], Marker(text[begun:end] + END)], text[end:]
        if most := _BEGUN.search(self._before + text):
            cut = max(0, most.start() - known)
            text, self._held = text[:cut], text[cut:]
        self._before = (self._before + text)[1 - len(START) :]
        return [text], ""

    def _paste(self, before: str, text: str) -> tuple[list[str | events.Paste], str]:
        """What a paste becomes with more of it, and what comes behind it."""
        whole = before + text
        at = whole.find(END, max(0, len(before) - len(END)))
        if at >= 0:
            self._pasted = None
            return [events.Paste(whole[:at])], whole[at + len(END) :]
        if self._stalled and len(text) <= _A_KEY:  # its end will not come: somebody types again
            self._pasted = None
            return [], text
        self._pasted, self._stalled = whole, False
        return [], ""

    def overdue(self) -> Iterator[str | events.Paste]:
        """What was held for more that does not come."""
        silent = time.monotonic() - self._since
        if self._held and silent > _TOO_LATE:
            yield self._held
            self._held = ""
        if self._pasted and silent > _STALLED and not self._stalled:
            self._stalled = True
            kept = next(n for n in range(len(END) - 1, -1, -1) if self._pasted.endswith(END[:n]))
            ready = self._pasted[: len(self._pasted) - kept]
            self._pasted = self._pasted[len(ready) :]
            if ready:
                yield events.Paste(ready)

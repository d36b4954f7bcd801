"""Warnings of diffusers while a pipeline draws: that a prompt is cut off, or that an argument is ignored."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdterm.core.text import printable

_LONGEST = 300  # characters


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        said = printable(" ".join(record.getMessage().split()), _LONGEST)
        if said not in self._told:
            self._told.add(said)
            self._tell(said)


@contextmanager
def warnings_reported(tell: Callable[[str], None]) -> Iterator[None]:
    """Report each of its warnings once, in one line."""
    logger, listener = logging.getLogger("diffusers"), _Listener(tell)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)

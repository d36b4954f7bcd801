"""Cutting a run short: the picture that is being sampled comes as it stands."""

import threading
from collections.abc import Callable
from typing import Protocol


class Flag(Protocol):
    """Something that is set or not."""

    def is_set(self) -> bool:
        """Whether it is."""
        ...


class Cut:
    """What of a run is cut short: the batch that is being sampled, or all that is left. Set by another thread."""

    def __init__(self) -> None:
        self._batch, self._rest = threading.Event(), threading.Event()

    def make(self, *, rest: bool) -> None:
        """rest: what comes after this batch is given up, too."""
        (self._rest if rest else self._batch).set()

    def begin_batch(self) -> None:
        """The next batch begins: what was said of the one before alone does not concern it."""
        self._batch.clear()

    def clear(self) -> None:
        """Another run begins."""
        self._batch.clear()
        self._rest.clear()

    @property
    def is_end(self) -> bool:
        """Whether no batch is to begin any more."""
        return self._rest.is_set()

    def is_set(self) -> bool:
        """Whether the batch is cut short."""
        return self._batch.is_set() or self._rest.is_set()


class Stopping:
    """Whether a batch is to stop: cancelled, or cut short, which waits until there is something to show."""

    def __init__(self, cancel: Flag, cut: Cut, has_begun: Callable[[], bool]) -> None:
        self._cancel, self._cut, self._has_begun = cancel, cut, has_begun

    def is_set(self) -> bool:
        """Whether it is."""
        return self._cancel.is_set() or (self._cut.is_set() and self._has_begun())

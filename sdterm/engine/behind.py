"""A thread that does what can wait, behind the one that draws."""

import threading
from collections.abc import Callable
from queue import Queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Behind(Generic[T]):
    """Handles items in their order, at most two behind whoever puts them. Once there is a `failure`, whoever sets it,
    the rest is dropped: so the thread that puts never waits for one that has died."""

    def __init__(self, handle: Callable[[T], None], name: str) -> None:
        self._handle = handle
        self.failure: Exception | None = None
        """What ended the run."""
        self._queue: Queue[tuple[T] | None] = Queue(maxsize=2)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        self._queue.put((item,))

    def close(self) -> bool:
        """Wait until all is handled. Returns whether that is so only now."""
        if not self._thread.is_alive():
            return False
        self._queue.put(None)
        self._thread.join()
        return True

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self.failure:
                continue
            try:
                self._handle(*item)
            except Exception as error:
                self.failure = error

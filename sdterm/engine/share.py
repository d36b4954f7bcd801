"""Which of a job's images a run draws, where several processes draw at one job: batches that have not begun can be
given up to another one at any time."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path


class Share:
    """A run's part of a job. Safe to use from several threads.

    images: the ones to draw here; None is every one that is left. drawn: the images that other processes have drawn
    since the job began, with their files: the run that ends the job tells observers of them.
    """

    def __init__(self, images: Collection[int] | None = None, drawn: Mapping[int, Path] | None = None) -> None:
        self._lock = threading.Lock()
        self._images = images
        self._left: deque[tuple[int, Sequence[int]]] = deque()
        self._released: set[int] = set()
        self._is_part = images is not None
        self.drawn: Mapping[int, Path] = drawn or {}

    @property
    def is_part(self) -> bool:
        """Whether others draw, or have to draw, the rest: the job does not end with this run."""
        return self._is_part

    @property
    def began_whole(self) -> bool:
        """Whether it was to draw all that was left, before it gave anything up."""
        return self._images is None

    def has(self, index: int) -> bool:
        """Whether an image is to be drawn here."""
        return (self._images is None or index in self._images) and index not in self._released

    def batches(self, all_of_them: Sequence[Sequence[int]]) -> Iterator[tuple[int, Sequence[int]]]:
        """(number, images) of each batch to draw here, of all that are left. Asked again, it begins with those anew."""
        with self._lock:
            self._left.clear()
            for number, batch in enumerate(all_of_them):
                mine = [index for index in batch if self.has(index)]
                if mine:
                    self._left.append((number, mine))
        while following := self._next():
            yield following

    def _next(self) -> tuple[int, Sequence[int]] | None:
        with self._lock:
            return self._left.popleft() if self._left else None

    def release(self, tell: Callable[[list[int]], None]) -> None:
        """Give up the later half of the batches that have not begun. tell: is given their images, before the run can
        end without them."""
        with self._lock:
            released = [self._left.pop() for _ in range((len(self._left) + 1) // 2)]
            self._released |= {index for _, batch in released for index in batch}
            self._is_part |= bool(released)
            tell(sorted(index for _, batch in released for index in batch))

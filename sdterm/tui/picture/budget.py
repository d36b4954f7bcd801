"""How much of the line previews may take: back-pressure, not a timer. Frames never wait in a queue."""

from dataclasses import dataclass
from typing import NamedTuple

SHARE = 1 / 3
"""Of what the line carries, at most this goes to previews."""

_BYTES_PER_CELL = 27
_QUICK, _SLOW = 0.25, 0.4  # seconds until the terminal has read a frame: so long a key waits behind it
_QUICK_ENOUGH = 3  # quick ones in a row, and frames grow
_LEAST = 12_000  # bytes a second: on less even small frames keep keys waiting
_TELLING = 2_000  # bytes of a frame that measures a slow line
_SLOW_FRAMES = 2  # in a row, and the line is slow
_FIRST_PART = 0.25  # of the steps: what is there before looks like noise and does not compress


class Frame(NamedTuple):
    """How large the next preview may be."""

    columns: int
    rows: int

    @property
    def limit(self) -> int:
        """The most bytes that the terminal may be sent for it."""
        return self.columns * self.rows * _BYTES_PER_CELL


class _Level(NamedTuple):
    frame: Frame
    period: float  # seconds from one frame to the next, at least


_LEVELS = (
    _Level(Frame(16, 8), 2.0),
    _Level(Frame(24, 12), 1.0),
    _Level(Frame(32, 16), 1.0),
    _Level(Frame(32, 16), 0.5),
    _Level(Frame(48, 24), 0.5),
    _Level(Frame(64, 32), 0.5),
)
_START = 2


@dataclass
class Budget:
    """At most one frame is under way. `offer` says whether this step's preview may be sent, and how large; the caller
    then tells when it was `sent` and when the terminal had read it (`acked`), which measures the line. Times are
    seconds of any one clock.

    `may_grow`: False where the answer does not come from the user's own terminal (tmux answers itself, and says nothing
    of the line behind it): frames then stay as they begin.
    """

    may_grow: bool = True
    round_trip: float = 0.0  # seconds until a terminal answers that has nothing to read
    _level: int = _START
    _quick: int = 0  # in a row
    _slow: int = 0  # in a row
    _rate: float | None = None  # bytes a second that the line carries, smoothed
    _sent_at: float | None = None  # the frame under way
    _bytes: int = 0
    _next_at: float = float("-inf")

    @property
    def rate(self) -> float | None:
        """Bytes a second that the line was seen to carry; None before the first answer."""
        return self._rate

    @property
    def line_is_slow(self) -> bool:
        """The line was seen to be too slow for previews."""
        return self._slow >= _SLOW_FRAMES

    @property
    def waiting(self) -> bool:
        """A frame is under way."""
        return self._sent_at is not None

    def offer(self, now: float, step: int, steps: int) -> Frame | None:
        """The frame that may be sent now of the state after `step` of `steps`, or None. The last step's is always given
        as soon as no frame is under way: offer it again after `acked`."""
        if self.waiting or step < _FIRST_PART * steps:
            return None
        if now < self._next_at and step < steps:
            return None
        return _LEVELS[self._level].frame

    def sent(self, now: float, nbytes: int) -> None:
        """A frame of so many bytes was handed to the terminal."""
        self._sent_at, self._bytes = now, nbytes
        self._next_at = max(self._next_at, now) + self._pause(nbytes)

    def acked(self, now: float) -> None:
        """The terminal has read the frame."""
        if self._sent_at is None:
            return
        took = max(now - self._sent_at, 1e-3)
        seen = self._bytes / took
        # A line that got slower is believed at once, one that got faster by and by.
        self._rate = seen if self._rate is None else min(seen, 0.7 * self._rate + 0.3 * seen)
        self._next_at = max(self._next_at, self._sent_at + self._pause(self._bytes))
        self._sent_at = None
        if self._bytes >= _TELLING and self.may_grow:
            self._slow = self._slow + 1 if self._bytes < _LEAST * (took - self.round_trip) else 0
        self._adapt(took)

    def _pause(self, nbytes: int) -> float:
        """Seconds from a frame to the next, in which the line could carry three times as much."""
        level = _LEVELS[self._level]
        return max(level.period, nbytes / (SHARE * self._rate) if self._rate else 0.0)

    def _adapt(self, took: float) -> None:
        if took > _SLOW:
            self._level, self._quick = _halved(self._level), 0
        elif took > _QUICK:
            self._quick = 0
        elif self.may_grow:
            self._quick += 1
            larger = min(self._level + 1, len(_LEVELS) - 1)
            growth = _LEVELS[larger].frame.limit / _LEVELS[self._level].frame.limit
            if self._quick >= _QUICK_ENOUGH and took * growth <= _QUICK:
                self._level, self._quick = larger, 0


def _halved(level: int) -> int:
    """The best level with at most half as many cells a second, or the lowest."""
    speeds = [frame.limit / period for frame, period in _LEVELS]
    return max((lower for lower in range(level) if speeds[lower] <= speeds[level] / 2), default=0)

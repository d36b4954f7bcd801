"""How many bytes a finished picture may have on this line: as many as were seen to be there within half a second."""

from dataclasses import dataclass

LEAST = 20_000
"""Bytes, before anything was measured and on any line."""
MOST = 1_500_000
IN_TMUX = 60_000
"""Bytes where nothing can be measured: tmux answers itself, and says nothing of the line behind it."""

_PATIENCE = 0.5  # seconds that a picture may take
_TELLING = 8_000  # bytes that measure a line: of fewer, most of the time is the way there and back


@dataclass
class Line:
    """The line to the terminal, measured by what went over it."""

    limit: int = LEAST
    """Bytes of a picture."""

    def measured(self, nbytes: int, seconds: float) -> None:
        """So many bytes were read by the terminal in that time, the way back of its answer included."""
        if nbytes >= _TELLING:
            self.limit = round(max(LEAST, min(MOST, nbytes * _PATIENCE / max(seconds, 1e-3))))

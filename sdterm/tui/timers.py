"""Timers that a busy machine makes late, and never makes skip their turn."""

from textual.message_pump import MessagePump
from textual.timer import Timer, TimerCallback


class LateTimers(MessagePump):
    """An application, screen or widget whose one-shot timers always have their turn."""

    def set_timer(
        self, delay: float, callback: TimerCallback | None = None, *, name: str | None = None, pause: bool = False
    ) -> Timer:
        """As Textual's, and late rather than never. Its one-shot timers skip their only turn when the machine is busy
        for longer than their delay just as they start; the one that a new size of the terminal waits for has 8 ms,
        and no size is ever taken after it was skipped."""
        timer = super().set_timer(delay, callback, name=name, pause=pause)
        timer._skip = False
        return timer

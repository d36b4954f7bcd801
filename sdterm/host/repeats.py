"""A log in which an error that comes again and again stands a few times, and does not bury the others."""

import logging
from collections import OrderedDict

FORGOTTEN = 3600.0
"""Seconds after which an error that comes again is as good as new."""
_MOST = 200  # errors that are remembered


class Repeats(logging.Filter):
    """Lets a warning or error pass the first time, and then with the count the 10th, 100th, 1000th time …"""

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[tuple[str, str, str], tuple[int, float]] = OrderedDict()  # its count, and when

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        message, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
        key = record.name, message, repr(error)
        count, last = self._seen.pop(key, (0, record.created))
        count = count + 1 if record.created - last < FORGOTTEN else 1
        self._seen[key] = count, record.created
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)
        if count > 1:
            record.msg, record.args, record.exc_info = f"{message} ({count} times by now)", (), None
            if error:
                record.msg += f": {error!r}"
        return str(count).rstrip("0") == "1"

"""Locks between processes. The kernel lets go of them with the process, however it ends."""

import fcntl
import time
from typing import IO, Any

_EVERY = 0.05  # seconds between two tries


def lock(file: int | IO[Any], *, shared: bool = False, patience: float = 0.0) -> bool:
    """Lock an open file until it is closed; False if others hold it for longer than so many seconds. A shared lock
    keeps out only those that want it for themselves. Raises OSError where the file system has no locks."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
        time.sleep(_EVERY)

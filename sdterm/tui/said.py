"""What the workstation told its user, for who wants to read it again."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from sdterm.core.text import printable

MOST = 500
_LONGEST = 10_000  # characters


class Said(NamedTuple):
    """A message and when it was told, in seconds since 1970."""

    at: float
    text: str


def told(messages: Iterable[Said]) -> str:
    """All of them in full, the newest first, each behind its time."""
    return "\n".join(
        f"{time.strftime('%H:%M:%S', time.localtime(said.at))}  {printable(said.text, _LONGEST)}"
        for said in reversed([*messages])
    )

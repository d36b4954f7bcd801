"""What the interface's parts tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from sdterm.api import Entry, Health


class HostStarting(Message):
    """There was no host; one is being started."""


class HostUp(Message):
    """The host answers."""

    def __init__(self, health: Health) -> None:
        super().__init__()
        self.health = health


class HostLost(Message):
    """The host does not answer any more, or cannot be started."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Happened(Message):
    """An entry of the host's stream."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry

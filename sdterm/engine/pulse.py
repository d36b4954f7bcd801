"""What the engine is at: whoever watches it tells a long call from a stuck one."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["idle", "prepare", "load", "sample", "decode"]
"""`load` while weights are read; what else comes before the first step is `prepare`."""


@dataclass
class Pulse:
    """Written by the threads of a run as it goes on."""

    phase: Phase = "idle"
    call: int = 0
    """Network calls done in this run."""
    plugin: str | None = None
    """The slug of the plugin whose code is running."""

    def count(self, number: int) -> None:
        """A network call is done."""
        self.call += 1

    def rest(self) -> None:
        """The run has ended."""
        self.phase, self.call = "idle", 0

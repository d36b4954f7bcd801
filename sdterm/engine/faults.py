"""What went wrong with plugins while a job was drawn nevertheless: told once, and kept for its images' infotexts."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sdterm.events import Event, Warning


@dataclass(frozen=True)
class Faults:
    """Of one job: the slug of each plugin that was skipped or misbehaved → what happened."""

    said: dict[str, str] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def tell(self, warning: Warning, emit: Callable[[Event], None], *, keep: bool = True) -> None:
        """Emit a warning, unless that was told before. keep: it concerns all images from now on."""
        if (warning.code, warning.message) not in self._told:
            self._told.add((warning.code, warning.message))
            emit(warning)
        if keep and warning.source:
            self.said.setdefault(warning.source, warning.message)

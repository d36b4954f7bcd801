"""Pictures of one job, folded into one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdterm.api import Picture


@dataclass(frozen=True)
class Line:
    """A picture, or a batch of them of which the first one is shown."""

    pictures: tuple[Picture, ...]
    opens: bool = False
    """Whether it is the first of a batch that is open."""

    @property
    def picture(self) -> Picture:
        return self.pictures[0]

    @property
    def is_folded(self) -> bool:
        return len(self.pictures) > 1


def lines(pictures: Iterable[Picture], is_folded: Callable[[int], bool]) -> list[Line]:
    """The lines of a list of pictures: neighbours of one job are a batch."""
    found: list[Line] = []
    for _, group in groupby(pictures, key=lambda picture: picture.job if picture.job is not None else -picture.id):
        batch = tuple(group)
        job = batch[0].job
        if len(batch) == 1 or job is None:
            found += [Line((picture,)) for picture in batch]
        elif is_folded(job):
            found.append(Line(batch))
        else:
            found += [Line((picture,), opens=not at) for at, picture in enumerate(batch)]
    return found

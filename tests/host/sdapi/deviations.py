"""Where sdterm's API answers otherwise than A1111 did, on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """status: what sdterm answers; None: the same, with another shape."""

    status: int | None
    why: str


DEVIATIONS: Mapping[str, Deviation] = {}
"""By the exchange's name."""

"""A postprocessor: a picture is turned round, to begin with."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Postprocessor, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray


def apply(image: NDArray[Any], rng: Random) -> NDArray[Any]:
    """uint8 [H, W, 3] → the same; of any size. `rng` is seeded by the image's seed."""
    return image[:, ::-1].copy()


@hookimpl
def sdterm_postprocessors() -> list[Postprocessor]:
    return [Postprocessor(id="my_extension", label="My extension", apply=apply)]

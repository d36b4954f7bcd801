"""An interrogator: it says how light a picture is, to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdterm.hooks import Interrogator, hookimpl

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def describe(image: NDArray[Any], folder: Path | None, device: torch.device) -> str:
    """uint8 [H, W, 3] → text. `folder` is that of a model; without `matches` there is none."""
    return "a light picture" if image.mean() > 127 else "a dark picture"


@hookimpl
def sdterm_interrogators() -> list[Interrogator]:
    return [Interrogator(id="my_extension", label="My extension", describe=describe)]

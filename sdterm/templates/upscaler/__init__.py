"""An upscaler: each pixel is repeated, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdterm.hooks import Upscaler, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resize(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """uint8 [H, W, 3] → the same, each side about `scale` times as long."""
    times = max(round(scale), 1)
    return image.repeat(times, 0).repeat(times, 1)


@hookimpl
def sdterm_upscalers() -> list[Upscaler]:
    return [Upscaler(id="my_extension", label="My extension", resize=resize)]

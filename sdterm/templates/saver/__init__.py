"""A file format: TIFF, to begin with."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from sdterm.hooks import OutputSaver, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DESCRIPTION = 270  # TIFF's tag for a text about the picture


def encode(image: NDArray[Any], infotext: str) -> bytes:
    """Pixels, uint8 [H, W, 3], and what they were made with → the bytes of a file."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, "TIFF", compression="tiff_lzw", tiffinfo={_DESCRIPTION: infotext})
    return file.getvalue()


@hookimpl
def sdterm_output_savers() -> list[OutputSaver]:
    return [OutputSaver(id="my_extension", label="My extension", suffix=".tiff", encode=encode)]

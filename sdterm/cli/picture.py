"""A picture in the terminal: kitty's protocol, sixel, or half blocks, by what the terminal answers."""

import sys
from pathlib import Path

from rich.console import Console


def show_picture(console: Console, path: Path) -> None:
    """Print the picture, no wider than the terminal and no taller than its rows less a few for the words."""
    rows = max(4, console.height - 6)
    kind = _renderable()
    console.print(kind(path, width="auto", height=min(rows, _native_rows(path, console.width))))


def picture_support() -> str:
    """How pictures are shown here, for `doctor`."""
    return {"TGPImage": "kitty graphics", "SixelImage": "sixel"}.get(_renderable().__name__, "half blocks")


def _renderable() -> type:
    """textual-image asks the terminal when this is imported, and reads the answer from standard input: where that is
    no terminal, there is nobody to answer."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from textual_image import renderable

        return renderable.Image
    from textual_image.renderable.halfcell import Image

    return Image


def _native_rows(path: Path, columns: int) -> int:
    """Rows that the picture needs at the full width, two pixels a row."""
    from PIL import Image

    with Image.open(path) as picture:
        width, height = picture.size
    return max(1, min(columns, width) * height // (2 * width))

"""iTerm2's inline images: a whole image file, which the terminal scales onto the cells.

https://iterm2.com/documentation-images.html
"""

from base64 import standard_b64encode
from io import BytesIO

from PIL import Image

# The finest first: pixels on the longer side, and JPEG's quality. None: as many as the cells have.
_QUALITIES = ((None, 92), (None, 82), (512, 85), (512, 70), (384, 70), (256, 70), (192, 65), (128, 60), (96, 50))


def encode(image: Image.Image, columns: int, rows: int, cell: tuple[int, int], limit: int) -> str:
    """The escape sequence that draws the picture from the cursor on, over so many cells of `cell` pixels, in at most
    `limit` bytes where that can be."""
    for side, quality in _QUALITIES:
        small = image.copy()
        small.thumbnail((side, side) if side else (columns * cell[0], rows * cell[1]), Image.Resampling.LANCZOS)
        file = BytesIO()
        small.save(file, "JPEG", quality=quality, optimize=True)
        sequence = drawn(file.getvalue(), columns, rows)
        if len(sequence) <= limit:
            break
    return sequence


def drawn(file: bytes, columns: int, rows: int) -> str:
    """The escape sequence that draws an image file over so many cells."""
    given = f"inline=1;size={len(file)};width={columns};height={rows};preserveAspectRatio=0;doNotMoveCursor=1"
    return f"\x1b]1337;File={given}:{standard_b64encode(file).decode()}\x07"

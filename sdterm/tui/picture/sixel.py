"""Sixel: the terminal is sent the pixels of the very area they cover, so few colours and calm areas keep it small."""

import re

from PIL import Image, ImageFilter

LIMIT = 20_000
"""Bytes of one picture."""

# The finest first: pixels of detail on the longer side, and colours. None: as fine as the cells are, and smoothed.
_QUALITIES = ((None, 32), (128, 32), (96, 24), (64, 16), (48, 16), (32, 16), (24, 8), (16, 8))


def encode(image: Image.Image, columns: int, rows: int, cell: tuple[int, int], limit: int = LIMIT) -> str:
    """The escape sequence that draws the picture from the cursor on, as large as so many cells of `cell` pixels (width
    and height) allow. Where `limit` bytes are not enough it has coarser detail and fewer colours.
    """
    for detail, colours in _QUALITIES:
        sequence = drawn(quantised(image, area(columns, rows, cell), detail, colours))
        if len(sequence) <= limit:
            break
    return sequence


def area(columns: int, rows: int, cell: tuple[int, int]) -> tuple[int, int]:
    """The pixels that cover so many cells. Their height is a multiple of six, sixel's own row: a terminal that counts
    whole rows does not scroll at the bottom."""
    return columns * cell[0], max(6, rows * cell[1] // 6 * 6)


def quantised(image: Image.Image, size: tuple[int, int], detail: int | None, colours: int) -> Image.Image:
    """The picture in that size, in so many colours, with so many pixels of detail on its longer side (None: as
    many as there is room for, and smoothed)."""
    small = image.copy()
    small.thumbnail((detail or 128, detail or 128), Image.Resampling.BOX)
    small = small.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    if detail:
        return small.resize(size, Image.Resampling.NEAREST)
    full = image.resize(size, Image.Resampling.BICUBIC).quantize(palette=small, dither=Image.Dither.NONE)
    return full.filter(ImageFilter.ModeFilter(3))


def drawn(image: Image.Image) -> str:
    """The escape sequence that draws these very pixels, in at most 256 colours."""
    from textual_image._sixel import image_to_sixels  # its other parts ask the terminal; this one doesn't

    # foot and xterm take a definition for nothing more and go on in the colour that was selected before
    return re.sub(r"#(\d+);2;\d+;\d+;\d+", r"\g<0>#\1", image_to_sixels(image))


def placed(sequence: str, column: int, row: int) -> str:
    """The picture with its upper left corner in that cell (from 0), the cursor back where it was."""
    return f"\x1b7\x1b[{row + 1};{column + 1}H{sequence}\x1b8"

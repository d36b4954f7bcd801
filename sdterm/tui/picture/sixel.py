"""Sixel: the terminal is sent the pixels of the very area they cover, so few colours and calm areas keep it small."""

from PIL import Image

LIMIT = 20_000
"""Bytes of one picture."""

# The finest first: pixels of detail on the longer side, and colours. None: as fine as the cells are, and smoothed.
_QUALITIES = ((None, 32), (128, 32), (96, 24), (64, 16), (48, 16), (32, 16), (24, 8), (16, 8))


def encode(image: Image.Image, columns: int, rows: int, cell: tuple[int, int], limit: int = LIMIT) -> str:
    """The escape sequence that draws the picture from the cursor on, as large as so many cells of `cell` pixels (width
    and height) allow. Where `limit` bytes are not enough it has coarser detail and fewer colours.

    Its height is a multiple of six, sixel's own row: a terminal that counts whole rows does not scroll at the bottom.
    """
    from textual_image._sixel import SixelOptions, image_to_sixels  # the package asks the terminal; this module doesn't

    area = columns * cell[0], max(6, rows * cell[1] // 6 * 6)
    for detail, colours in _QUALITIES:
        small = image.copy()
        small.thumbnail((detail or 128, detail or 128), Image.Resampling.BOX)
        small = small.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        if detail:
            scaled = small.resize(area, Image.Resampling.NEAREST)
        else:
            scaled = image.resize(area, Image.Resampling.BICUBIC).quantize(palette=small, dither=Image.Dither.NONE)
        sequence = image_to_sixels(scaled, SixelOptions(colours, None if detail else 3))
        if len(sequence) <= limit:
            break
    return sequence


def placed(sequence: str, column: int, row: int) -> str:
    """The picture with its upper left corner in that cell (from 0), the cursor back where it was."""
    return f"\x1b7\x1b[{row + 1};{column + 1}H{sequence}\x1b8"

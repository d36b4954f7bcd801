"""Sixel: the terminal is sent the pixels of the very area they cover. Where the line carries little, few colours and
calm areas keep that small; where it carries much, there are up to 256 colours, dithered."""

import re

from PIL import Image, ImageFilter

LIMIT = 20_000
"""Bytes of one picture, where nothing is known of the line."""
COLOURS = 256
"""At most. A terminal may have fewer."""

# The finest first. Dithered: colours, and how many bytes a pixel takes at least: what has no chance is not tried.
_DITHERED = ((256, 0.5), (64, 0.35))
_FEW = 0.25  # the same for as many colours as there are where those are fewer
_MOST_DITHERED = 1_500_000  # pixels: more take seconds, and their dots are too small to be missed
# Not dithered: pixels of detail on the longer side (None: as fine as the cells are, and smoothed), colours, bytes.
_CALM = (
    *((None, 256, 0.15), (None, 128, 0.1), (None, 64, 0.07), (None, 32, 0.0)),
    *((side, colours, 0.0) for side, colours in ((128, 32), (96, 24), (64, 16), (48, 16), (32, 16), (24, 8), (16, 8))),
)


def encode(
    image: Image.Image,
    columns: int,
    rows: int,
    cell: tuple[int, int],
    limit: int = LIMIT,
    most_colours: int = COLOURS,
) -> str:
    """The escape sequence that draws the picture from the cursor on, as large as so many cells of `cell` pixels (width
    and height) allow. Where `limit` bytes are not enough it has coarser detail and fewer colours. most_colours: that
    the terminal has.
    """
    size = area(columns, rows, cell)
    room = limit / (size[0] * size[1])  # bytes of a pixel
    for colours, density in [one for one in _DITHERED if one[0] <= most_colours] or [(most_colours, _FEW)]:
        if density > room or size[0] * size[1] > _MOST_DITHERED:
            continue
        if len(sequence := drawn(dithered(image, size, colours))) <= limit:
            return sequence
    for detail, colours, density in _CALM:
        if density <= room:
            sequence = drawn(quantised(image, size, detail, min(colours, most_colours)))
            if len(sequence) <= limit:
                break
    return sequence


def dithered(image: Image.Image, size: tuple[int, int], colours: int) -> Image.Image:
    """The picture in that size, in so many colours of its own, whose mixture stands for those between."""
    full = image.resize(size, Image.Resampling.LANCZOS)
    palette = full.quantize(colours, Image.Quantize.MEDIANCUT)
    return full.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


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

    # foot and xterm take a definition for nothing more and go on in the colour that was selected before; a new line
    # after the last one makes the picture six pixels higher in foot from 1.16 on
    sequence = re.sub(r"#(\d+);2;\d+;\d+;\d+", r"\g<0>#\1", image_to_sixels(image))
    return sequence.removesuffix("-\x1b\\").removesuffix("\x1b\\") + "\x1b\\"

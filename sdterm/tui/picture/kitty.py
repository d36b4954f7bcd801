"""kitty's graphics protocol with Unicode placeholders: the picture is sent once, small, and the terminal scales it onto
cells that to everybody in between (Textual's compositor, tmux) are text.

https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders
"""

import os
from base64 import standard_b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from itertools import count, cycle

from PIL import Image
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

LIMIT = 12_000
"""Bytes of one picture with its cells, as long as those are no more than 60x30 and nothing is known of the line."""

MOST = 297
"""Columns, and rows, of cells that one picture can have."""

_CELL = "\U0010eeee"
_MARKED = 8  # every so many cells
_LEAST = 2_500
_CHUNK = 4096  # the protocol's own limit
# The combining characters that count rows and columns, in kitty's order (its rowcolumn-diacritics.txt).
_DIACRITICS = (
    "305 30D-30E 310 312 33D-33F 346 34A-34C 350-352 357 35B 363-36F 483-487 592-595 597-599 59C-5A1 5A8-5A9 5AB-5AC "
    "5AF 5C4 610-617 657-65B 65D-65E 6D6-6DC 6DF-6E2 6E4 6E7-6E8 6EB-6EC 730 732-733 735-736 73A 73D 73F-741 743 745 "
    "747 749-74A 7EB-7F1 7F3 816-819 81B-823 825-827 829-82D 951 953-954 F82-F83 F86-F87 135D-135F 17DD 193A 1A17 "
    "1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2 1CDA-1CDB 1CE0 1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 "
    "20D4-20D7 20DB-20DC 20E1 20E7 20E9 20F0 2CEF-2CF1 2DE0-2DFF A66F A67C-A67D A6F0-A6F1 A8E0-A8F1 AAB0 AAB2-AAB3 "
    "AAB7-AAB8 AABE-AABF AAC1 FE20-FE26 10A0F 10A38 1D185-1D189 1D1AA-1D1AD 1D242-1D244"
)
_MOST_COLOURS = 256
_DENSITY = 1.6  # bytes to send of a pixel in true colour, about and at least
# Largest first: sides in pixels and colours of the PNG.
_SIZES = (
    *((side, _MOST_COLOURS) for side in (1024, 768, 512, 384, 256, 192)),
    (128, 64),
    (128, 32),
    (96, 64),
    (96, 32),
    (64, 64),
    (64, 32),
    (64, 16),
    (48, 16),
    (32, 16),
)


def free_bytes(columns: int, rows: int, limit: int = LIMIT) -> int:
    """Bytes that are left for the picture itself beside the placeholders of its cells; never so few that it is lost."""
    return max(_LEAST, limit - rows * (columns * 9 // 2 + 40))


def encode(image: Image.Image, limit: int, area: tuple[int, int] = (128, 128)) -> bytes:
    """The finest PNG, of at most so many pixels, of which `limit` bytes of escape sequences are enough. (The coarsest
    there is, where even that is too large.)"""
    full = image.copy()
    full.thumbnail(area, Image.Resampling.LANCZOS)
    if full.width * full.height * _DENSITY <= limit:
        png = _png(full)
        if _sent(png) <= limit:
            return png
    for side, colours in _SIZES:
        small = full.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        if colours == _MOST_COLOURS and small.width * small.height * _DENSITY / 4 > limit:
            continue
        palette = small.quantize(colours, Image.Quantize.MEDIANCUT)
        dither = Image.Dither.FLOYDSTEINBERG if colours == _MOST_COLOURS else Image.Dither.NONE
        png = _png(small.quantize(palette=palette, dither=dither))
        if _sent(png) <= limit:
            break
    return png


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _sent(png: bytes) -> int:
    """Bytes of escape sequences."""
    return len(png) * 4 // 3 + 100 + len(png) // 200


def transmit(
    image_id: int | None, png_bytes: bytes, columns: int, rows: int, environ: Mapping[str, str] = os.environ
) -> str:
    """What makes the terminal keep the picture under a number, to be scaled onto so many cells wherever their
    placeholders are; without a number it is drawn at the cursor. The terminal answers nothing."""
    data = standard_b64encode(png_bytes).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    first = f"a=T,{'' if image_id is None else f'U=1,i={image_id},'}f=100,c={columns},r={rows},"
    return "".join(
        _command(f"{'' if index else first}q=2,m={int(index < len(chunks) - 1)};{chunk}", environ)
        for index, chunk in enumerate(chunks)
    )


def delete(image_id: int, environ: Mapping[str, str] = os.environ) -> str:
    """What makes the terminal forget a picture and free its memory."""
    return _command(f"a=d,d=I,i={image_id},q=2", environ)


def placeholder_strips(image_id: int, columns: int, rows: int) -> list[Strip]:
    """The cells. Their colour says the picture; every eighth says its row and column, and those between count on from
    their left neighbour, which halves the bytes. So a picture of which something covers the middle may have a few wrong
    cells at the right of it, until that goes."""
    style = Style(color=_colour(image_id))
    marks = _marks()
    return [
        Strip([Segment("".join(_cell(marks, column, row) for column in range(columns)), style)], columns)
        for row in range(rows)
    ]


def placeholder(image_id: int, column: int, row: int) -> Segment:
    """One cell alone, which says its row and column."""
    marks = _marks()
    return Segment(f"{_CELL}{marks[row]}{marks[column]}", Style(color=_colour(image_id)))


def _cell(marks: str, column: int, row: int) -> str:
    return _CELL if column % _MARKED else f"{_CELL}{marks[row]}{marks[column]}"


def image_ids(true_colour: bool) -> Iterator[int]:
    """Numbers for pictures, without end. With 256 colours they are those of the palette, of which Rich finds the very
    same again when it writes them; with true colour, 24 bits that begin somewhere else in every process: the terminal
    has one list for all programs."""
    if not true_colour:
        return cycle(_palette_ids())
    first = os.getpid() * 40503 % 0xFFFFFF  # spread over the range; neighbours in time are far apart
    return (0x010000 + (first + number * 0x010101) % 0xFEFFFF for number in count())


def _colour(image_id: int) -> Color:
    """Below 256 the colour of that place in the palette."""
    if image_id < 256:
        return Color.from_triplet(Color.from_ansi(image_id).get_truecolor())
    return Color.from_rgb(image_id >> 16 & 255, image_id >> 8 & 255, image_id & 255)


@cache
def _palette_ids() -> list[int]:
    return [number for number in range(16, 256) if _colour(number).downgrade(ColorSystem.EIGHT_BIT).number == number]


@cache
def _marks() -> str:
    ranges = [part.partition("-")[::2] for part in _DIACRITICS.split()]
    return "".join(chr(code) for low, high in ranges for code in range(int(low, 16), int(high or low, 16) + 1))


def _command(content: str, environ: Mapping[str, str]) -> str:
    sequence = f"\x1b_G{content}\x1b\\"
    if not environ.get("TMUX"):
        return sequence
    escaped = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{escaped}\x1b\\"  # tmux hands it on where `allow-passthrough` is on

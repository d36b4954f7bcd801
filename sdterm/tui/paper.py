"""What stands on the terminal's screen, so that only what is new is written.

Textual writes whatever it has laid out or drawn anew, whether it looks different or not: a screen that is opened is
written seven times, a border that changes with all that is inside it. Here every cell is compared with what was written
last, and colours are changed only where they differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

_SGR = re.compile(r"\x1b\[([\d;]*)m")
_SAME_WIDTH = re.compile("[ -~¡-¬®-˿Ͱ-ϿЀ-ҁ‐-‧‰-⁞←-◿⠀-⣿、-〿ぁ-鿿가-힣！-｠]*")
"""Lines in which every terminal gives each character as many cells as Rich does."""
_SHORT = 6  # cells of one colour that are alike between two that are not: a move of the cursor costs more


class _Pen(NamedTuple):
    """What a cell is written with, as the numbers of its escape sequence."""

    attributes: str
    foreground: str
    background: str

    def after(self, before: _Pen | None) -> str:
        """The sequence that changes the pen from another one, or from what is not known."""
        if before is None or self.attributes != before.attributes:
            return f"\x1b[{';'.join(filter(None, ('0', *self)))}m"
        changed = [self.foreground or "39"] if self.foreground != before.foreground else []
        changed += [self.background or "49"] if self.background != before.background else []
        return f"\x1b[{';'.join(changed)}m"


_PLAIN = _Pen("", "", "")
_Cell = tuple[str, _Pen]
"""A character with all that combines with it; none for the right half of a wide one."""
_Span = tuple[int, int, int]


class Paper:
    """The cells of the screen, as far as it is known what is there. Without colours, what is light is reversed."""

    def __init__(self, *, colours: bool = True) -> None:
        self._colours = colours
        self._rows: list[list[_Cell | None]] = []
        self._segments: list[list[Segment] | None] = []  # of rows that were written as a whole
        self._pens: dict[Style | None, _Pen] = {None: _PLAIN}

    def forget(self, area: Region | None = None) -> None:
        """Something else is there now."""
        if area is None:
            self._rows = []
            return
        for y in range(max(0, area.y), min(area.bottom, len(self._rows))):
            self._segments[y] = None
            row = self._rows[y]
            for x in range(max(0, area.x), min(area.right, len(row))):
                row[x] = None

    def write(self, update: CompositorUpdate, width: int, height: int, console: Console) -> tuple[str, list[_Span]]:
        """What must be written for an update, and the spans (y, left, right) that change."""
        if (width, height) != (len(self._rows[0]) if self._rows else 0, len(self._rows)):
            self._rows = [[None] * width for _ in range(height)]
            self._segments = [None] * height
        out: list[str] = []
        spans: list[_Span] = []
        pen: _Pen | None = None  # whatever it was left at
        for y, x, segments, is_all in _pieces(update):
            if y >= height or x >= width:  # painted for the size that the terminal had before
                continue
            if is_all and self._segments[y] == segments:
                continue
            row, cells = self._rows[y], self._cells(segments, console)[: width - x]
            old = row[x : x + len(cells)]
            row[x : x + len(cells)] = cells
            self._segments[y] = segments if is_all else None
            for left, right in _changes(old, cells):
                out.append(f"\x1b[{y + 1};{x + left + 1}H")
                spans.append((y, x + left, x + right))
                for text, wanted in cells[left:right]:
                    if wanted != pen:
                        out.append(
                            f"\x1b[{';'.join(filter(None, ('0', *wanted)))}m" if pen is None else wanted.after(pen)
                        )
                        pen = wanted
                    out.append(text)
        if pen is not None and pen != _PLAIN:
            out.append("\x1b[0m")
        return "".join(out), spans

    def _cells(self, segments: Iterable[Segment], console: Console) -> list[_Cell]:
        cells: list[_Cell] = []
        for text, style, control in segments:
            if control:
                continue
            pen = self._pen(style, console)
            if text.isascii():
                cells += [(character, pen) for character in text]
                continue
            for character in text:
                width = cell_len(character)
                if width:
                    cells.append((character, pen))
                    cells += [("", pen)] * (width - 1)
                elif cells:
                    at = next((i for i in range(len(cells) - 1, -1, -1) if cells[i][0]), 0)
                    cells[at] = (cells[at][0] + character, cells[at][1])
        return cells

    def _pen(self, style: Style | None, console: Console) -> _Pen:
        if (pen := self._pens.get(style)) is None:
            if len(self._pens) > 20_000:  # pictures have many colours
                self._pens = {None: _PLAIN}
            sequence = _SGR.search(Strip([Segment("x", style)]).render(console))
            pen = _pen_of(sequence[1] if sequence else "")
            pen = self._pens[style] = pen if self._colours else _without_colours(pen, style)
        return pen


def _pen_of(codes: str) -> _Pen:
    """The numbers of a sequence, sorted by what they change."""
    attributes, foreground, background = "", "", ""
    left = iter(codes.split(";") if codes else ())
    for code in left:
        number = int(code or 0)
        if number in (38, 48):
            kind = next(left, "")
            colour = ";".join((code, kind, *(next(left, "") for _ in range(3 if kind == "2" else 1))))
            foreground, background = (colour, background) if number == 38 else (foreground, colour)
        elif number // 10 in (3, 9):
            foreground = "" if number == 39 else code
        elif number // 10 in (4, 10):
            background = "" if number == 49 else code
        else:
            attributes = f"{attributes};{code}" if attributes else code
    return _Pen(attributes, foreground, background)


def _without_colours(pen: _Pen, style: Style | None) -> _Pen:
    background = style.bgcolor.get_truecolor() if style and style.bgcolor else None
    is_light = background is not None and sum(background) > 3 * 127
    return _Pen(";".join(filter(None, (pen.attributes, "7" if is_light else ""))), "", "")


def _pieces(update: CompositorUpdate) -> Iterator[tuple[int, int, list[Segment], bool]]:
    """The parts of an update: row, column, what stands there, and whether that is the whole row."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            yield y, update.region.x, [segment for strip in strips for segment in strip], update.region.x == 0
    elif isinstance(update, ChopsUpdate):
        for y, x1, x2 in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x < x2 and end > x1:
                    yield y, x, [*strip.crop(0, min(end, x2) - x)], False


def _changes(old: Sequence[_Cell | None], new: Sequence[_Cell]) -> Iterator[tuple[int, int]]:
    """From where to where cells differ, those with little between them together."""
    differing = [at for at, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return
    if not all(map(_SAME_WIDTH.fullmatch, ("".join(cell[0] for cell in cells if cell) for cells in (old, new)))):
        yield 0, len(new)
        return
    left = right = differing[0]
    for at in differing:
        if at - right > _SHORT or (at - right > 1 and len({cell[1] for cell in new[right : at + 1]}) > 1):
            yield _whole(new, left, right)
            left = at
        right = at
    yield _whole(new, left, right)


def _whole(cells: Sequence[_Cell], left: int, right: int) -> tuple[int, int]:
    """A span that cuts no wide character in two; its right end is the cell behind it."""
    while left and not cells[left][0]:
        left -= 1
    right += 1
    while right < len(cells) and not cells[right][0]:
        right += 1
    return left, right

"""Small pictures side by side, one of them chosen: what Recent and the wall are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sdterm.tui import calls
from sdterm.tui.keymap import LEFT
from sdterm.tui.picture.support import CELLS, Cells, Depth
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import depth_of, next_image_id, over
from sdterm.tui.shell import HasShell

if TYPE_CHECKING:
    from sdterm.api import Picture

_KEPT = 200  # tiles
_BYTES = 100  # that kitty is sent for each cell of a tile: twice as many as its half blocks would be
STEPS = (
    Binding("left,h", "move(-1)", show=False, id=LEFT),
    Binding("right,l", "move(1)", show=False),
    Binding("up,k", "line(-1)", show=False),
    Binding("down,j", "line(1)", show=False),
    Binding("pageup", "page(-1)", show=False),
    Binding("pagedown", "page(1)", show=False),
    Binding("home,g", "move(-1000000)", show=False),
    Binding("end,G", "move(1000000)", show=False),
    *(Binding(str(number), f"pick({number})", show=False) for number in range(1, 10)),
)
"""The keys that choose a picture."""


class Tile(NamedTuple):
    """Cells of one picture, without the gap on its left and the line below it."""

    width: int
    height: int


_Way: TypeAlias = tuple[Cells | Literal["kitty"], Depth]
_Key: TypeAlias = tuple[int, Tile, _Way]


class _Drawn(NamedTuple):
    """The lines of a tile, and what the terminal was sent for it before they are written."""

    strips: list[Strip]
    image_id: int | None = None
    sent: str = ""


class Tiles(HasShell, Widget, can_focus=True):
    """Pictures from left to right, line by line. What is chosen stands between two bars; what is marked has a star."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tiles--bar", "tiles--label"}
    DEFAULT_CSS = """
    Tiles > .tiles--bar { color: $primary; text-style: bold; }
    Tiles > .tiles--label { color: $muted; }
    """

    class Chosen(Message):
        """A key chose another picture."""

        def __init__(self, picture: Picture) -> None:
            super().__init__()
            self.picture = picture

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pictures: Sequence[Picture] = ()
        self.at = 0
        self._first = 0  # the picture at the top left
        self._made: dict[_Key, _Drawn] = {}
        self._before: Picture | None = None  # the one that was chosen before a digit chose another

    # --- for those that are made of this ------------------------------------------------------------------------------

    def tile(self) -> Tile:
        """How large one is, at the size that the widget has now."""
        raise NotImplementedError

    def has_labels(self) -> bool:
        """Whether each has a line below it."""
        raise NotImplementedError

    def label(self, at: int) -> str:
        """What that line says of the picture of that number."""
        raise NotImplementedError

    def sign(self, at: int) -> str:
        """One letter on the left of that line: the key that chooses the picture."""
        number = at - self._first + 1
        return str(number) if number < 10 else " "

    # --- what is shown ------------------------------------------------------------------------------------------------

    def put(self, pictures: Sequence[Picture], at: int) -> None:
        """Show these, with that one chosen."""
        self.pictures = pictures
        self.refresh()
        self.choose(at)

    def choose(self, at: int) -> None:
        """Another one, as far as there is one."""
        before, first = self.at, self._first
        self.at = max(0, min(len(self.pictures) - 1, at))
        self._scroll()
        if self._first != first:
            self.refresh()
        else:
            self.refresh(self._region(before), self._region(self.at))
        self._make()

    def chosen(self) -> Picture | None:
        return self.pictures[self.at] if self.pictures else None

    def pair(self) -> list[Picture]:
        """The two that digits chose last, or else the chosen one and the one on its left; of a grid, which shows them
        all, the last two that it shows."""
        pictures = [picture for picture in self.pictures[: self.at + 1] if picture.is_image]
        chosen, before = self.chosen(), self._before
        if before and chosen in pictures[-1:] and any(picture.id == before.id for picture in self.pictures):
            return [before, *pictures[-1:]]
        return pictures[-2:]

    def on_resize(self) -> None:
        self._scroll()
        self._make()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self._pick(self.at + by)

    def action_line(self, by: int) -> None:
        """Up or down, as far as there is a picture."""
        if self._lines() > 1 and 0 <= self.at + by * self.columns < len(self.pictures):
            self._pick(self.at + by * self.columns)

    def action_page(self, by: int) -> None:
        self._pick(self.at + by * self.columns * self._lines())

    def action_pick(self, number: int) -> None:
        """One of the first nine in sight."""
        if (picture := self.numbered(number)) and picture != (before := self.chosen()):
            self._pick(self._first + number - 1)
            self._before = before

    def numbered(self, number: int) -> Picture | None:
        """The one in sight that this digit chooses."""
        at = self._first + number - 1
        return self.pictures[at] if at < len(self.pictures) else None

    def _pick(self, at: int) -> None:
        self._before = None
        if self.pictures:
            self.choose(at)
            self.post_message(self.Chosen(self.pictures[self.at]))

    # --- where they are -----------------------------------------------------------------------------------------------

    @property
    def columns(self) -> int:
        """How many stand side by side."""
        return max(1, (self.size.width - 1) // (self.tile().width + 1))

    def _lines(self) -> int:
        return max(1, self.size.height // (self.tile().height + self.has_labels()))

    def _scroll(self) -> None:
        """Have the chosen one in sight, and no more room empty than there must be."""
        columns, lines = self.columns, self._lines()
        unit = 1 if lines == 1 else columns
        shown = columns * lines
        first = self._first
        if self.at < first:
            first = self.at // unit * unit
        elif self.at >= first + shown:
            first = -(-(self.at + 1 - shown) // unit) * unit
        last = -(-max(0, len(self.pictures) - shown) // unit) * unit
        self._first = max(0, min(first, last))

    def _region(self, number: int) -> Region:
        """Where a picture is, with its label and what stands on both its sides."""
        tile, (line, column) = self.tile(), divmod(number - self._first, self.columns)
        height = tile.height + self.has_labels()
        return Region(column * (tile.width + 1), line * height, tile.width + 2, height)

    def _shown(self) -> Sequence[Picture]:
        return self.pictures[self._first : self._first + self.columns * self._lines()]

    @work(group="tiles", exclusive=True)
    async def _make(self) -> None:
        """Fetch what is in sight and not there yet."""
        if not self.size or self.shell.picture_mode() in ("off", "text"):
            return
        tile, way = self.tile(), self._way()
        for number, picture in enumerate(self._shown(), self._first):
            key = (picture.id, tile, way)
            if key in self._made or picture.missing:
                continue
            is_small = tile.width <= 16 and way[0] in ("ascii", "half")
            data = await self.ask(calls.thumbnail(picture.id, 64 if is_small else 256))
            if data is None:
                return
            image_id = next_image_id(self.app) if way[0] == "kitty" else None
            drawn = await asyncio.to_thread(_drawn, data, tile, way, self._cell(), image_id)
            while len(self._made) >= _KEPT:
                self._forget(self._made.pop(next(iter(self._made))))
            self._write(drawn.sent)
            self._made[key] = drawn
            self.refresh(self._region(number))

    def _way(self) -> _Way:
        """How they are drawn here. kitty's pixels need true colour: there are too few numbers for them with less."""
        mode, depth = self.shell.picture_mode(), depth_of(self.app)
        if mode == "kitty" and depth == "truecolor" and isinstance(self.app, PictureApp):
            return "kitty", depth
        return next((cells for cells in CELLS if cells == mode), "half"), depth

    def _cell(self) -> tuple[int, int]:
        return self.app.cell_size() if isinstance(self.app, PictureApp) else (1, 2)

    def _write(self, sequence: str) -> None:
        if sequence and isinstance(self.app, PictureApp):
            self.app.write_to_terminal(sequence)

    def _forget(self, drawn: _Drawn) -> None:
        """Have the terminal forget its pixels."""
        if drawn.image_id is not None:
            from sdterm.tui.picture import kitty

            self._write(kitty.delete(drawn.image_id))

    def on_unmount(self) -> None:
        for drawn in self._made.values():
            self._forget(drawn)

    def refresh_marks(self) -> None:
        """Paint the places where stars are."""
        regions = (self._region(number) for number, _ in enumerate(self._shown(), self._first))
        if spots := [Region(region.x, region.y, 1, 1) for region in regions]:
            self.refresh(*spots)

    # --- painting -----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        tile, style = self.tile(), self.rich_style
        height = tile.height + self.has_labels()
        line, within = divmod(y, height)
        columns = self.columns
        numbers = range(self._first + line * columns, self._first + (line + 1) * columns)
        parts, right = [], False
        for number in numbers:
            if line >= self._lines() or number >= len(self.pictures):
                break
            is_chosen = number == self.at
            parts += [self._gap(number, within, right), self._part(number, within, tile)]
            right = is_chosen
        if right and within < tile.height:
            parts.append(self._bar("▌"))
        strip = over(Strip.join(parts), style)
        return strip.adjust_cell_length(self.size.width, style)

    def _gap(self, number: int, within: int, right: bool) -> Strip:
        """Before a picture; right: the one before it is chosen."""
        if not within and self.pictures[number].id in self.shell.marks:
            return self._bar("*")
        if within == self.tile().height:
            return self._bar(self.sign(number))
        return self._bar("▐" if number == self.at else "▌" if right else " ")

    def _bar(self, sign: str) -> Strip:
        return Strip([Segment(sign, self.get_component_rich_style("tiles--bar", partial=True))], 1)

    def _part(self, number: int, within: int, tile: Tile) -> Strip:
        picture = self.pictures[number]
        if within == tile.height:
            name = "tiles--bar" if number == self.at else "tiles--label"
            told = self.label(number)
            if cell_len(told) > tile.width:
                told = set_cell_size(told, tile.width - 1)  # away from the sign on the right
            return _text(told, tile.width, self.get_component_rich_style(name, partial=True))
        drawn = self._made.get((picture.id, tile, self._way()))
        if drawn is None or self.shell.picture_mode() in ("off", "text"):
            words = f"{picture.id}" + (" !" if picture.missing else "")
            return _text("" if within else words, tile.width, Style.null())
        return drawn.strips[within]


def _text(text: str, width: int, style: Style) -> Strip:
    return Strip([Segment(set_cell_size(text, width), style)], width)


def _drawn(data: bytes, tile: Tile, way: _Way, cell: tuple[int, int], image_id: int | None) -> _Drawn:
    """In the middle of its tile; an empty tile for what is no picture."""
    from sdterm.tui.picture import image, kitty
    from sdterm.tui.picture.characters import characters

    mode, depth = way
    blank = Strip([Segment(" " * tile.width)], tile.width)
    lines = [blank] * tile.height
    try:
        picture = image.read(data, 256, 256)
    except image.PictureError:
        return _Drawn(lines)
    columns, rows = image.fit(picture.size, tile.width, tile.height, cell)
    left, top = (tile.width - columns) // 2, (tile.height - rows) // 2
    if mode == "kitty" and image_id is not None:
        most = min(kitty.LIMIT, _BYTES * columns * rows)
        png = kitty.encode(picture, kitty.free_bytes(columns, rows, most), (columns * cell[0], rows * cell[1]))
        sent, strips = kitty.transmit(image_id, png, columns, rows), kitty.placeholder_strips(image_id, columns, rows)
    else:
        sent, strips = "", [*characters(picture, columns, rows, depth, cells="half" if mode == "kitty" else mode)]
    for y, strip in enumerate(strips, top):
        before, after = Segment(" " * left), Segment(" " * (tile.width - left - columns))
        lines[y] = Strip([before, *strip, after], tile.width)
    return _Drawn(lines, image_id, sent)

"""A picture among the other widgets, in whatever way the terminal can show it."""

import asyncio
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import work
from textual.app import App
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from sdterm.core.text import printable
from sdterm.tui.picture.support import PIXELS, Cells, Depth, Protocol
from sdterm.tui.picture.terminal import PictureApp

if TYPE_CHECKING:
    from sdterm.tui.picture.budget import Frame

_Mode: TypeAlias = Cells | Literal["kitty", "iterm", "sixel"]

_NEEDED: dict[Protocol, Collection[Depth]] = {
    "kitty": ("truecolor", "256"),
    "iterm": ("truecolor", "256", "16"),
    "sixel": ("truecolor", "256", "16"),
}
"""What colours the text must have."""
_DOTS: dict[_Mode, tuple[int, int]] = {"ascii": (1, 2), "half": (1, 2), "quadrant": (2, 2), "sextant": (2, 3)}
"""In a cell."""
_DEPTHS: dict[str | None, Depth] = {"truecolor": "truecolor", "256": "256", "standard": "16", "windows": "16"}
_MOST_IN_PREVIEW = 60, 30  # cells: kitty is sent each of them, sixel the pixels of all
_MOST_OF_PREVIEW: dict[_Mode, int] = {"kitty": 12_000, "iterm": 12_000, "sixel": 20_000}  # bytes
_CURSOR_MOVE = 8  # bytes
_CACHED = 8  # pictures; a half-block one of 60x30 cells takes about 1 MB


class _Rendition(NamedTuple):
    """All that decides what a picture looks like here; what is equal is not made again."""

    digest: tuple[int, int]
    columns: int
    rows: int
    mode: _Mode
    depth: Depth
    cell: tuple[int, int]
    limit: int | None
    detail: tuple[int, int] | None = None
    """Cells that are told apart at most: a preview has the place of the picture that it will be, and is coarser."""
    colours: int = 0
    """That sixel has here; 0: nobody knows."""


class _Encoded(NamedTuple):
    columns: int
    rows: int
    strips: tuple[Strip, ...] = ()  # of characters
    png: bytes = b""  # for kitty
    drawn: str = ""  # sixel's or iTerm2's pixels, which are written over the cells
    error: str = ""  # a sentence instead of a picture


_NOTHING = _Encoded(0, 0)


class PictureView(Widget):
    """Shows one picture in the middle of its area and a caption below.

    `mode` may change at any time; "text" shows the caption alone. Pixels need a PictureApp and colours, else half
    blocks stand in. A picture of sixel's or iTerm2's that is partly covered or scrolled out is not drawn.
    """

    DEFAULT_CSS = "PictureView { width: 1fr; height: 1fr; }"

    mode: reactive[Protocol] = reactive[Protocol]("half")

    class Written(Message):
        """The picture was handed to the terminal, with all its bytes."""

        def __init__(self, view: "PictureView", nbytes: int) -> None:
            super().__init__()
            self.view = view
            self.nbytes = nbytes

        @property
        def control(self) -> "PictureView":
            return self.view

    def __init__(
        self, *, mode: Protocol = "half", name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.set_reactive(PictureView.mode, mode)
        self._data: bytes | None = None
        self._caption = ""
        self.hint = ""
        """Stands where no picture is."""
        self._frame: Frame | None = None
        self._cache: dict[_Rendition, _Encoded] = {}
        self._job: _Rendition | None = None  # what is shown, or being made
        self._making = False
        self._composed_for = Size(0, 0)
        self._encoded = _NOTHING
        self._lines: list[Strip] = []
        self._image_id: int | None = None  # what kitty keeps for us
        self._old_images: list[int] = []  # and what it may forget when the newest is on the screen
        self._place = self._placed_before = Region(0, 0, 0, 0)  # of the picture within the widget
        self._nbytes = 0  # of the newest picture
        self._besides = 0  # of that, what are no cells
        self._handed_at = 0.0  # to the terminal, the first of them
        self._awaited: list[asyncio.Future[int]] = []
        self._awaited_paint: list[asyncio.Future[int]] = []

    def show(self, data: bytes | None, *, caption: str = "", frame: "Frame | None" = None) -> None:
        """Show the picture in these bytes (PNG, JPEG, WebP), or none. `frame`: of a preview, how large it may be. When
        it was written, `Written` is posted; what is shown already is not written again."""
        self._data, self._frame = data, frame
        caption = printable(caption)
        if caption != self._caption:
            self._caption = caption
            self._job = None  # a row more or less
        self._update()

    async def shown(self, data: bytes, *, caption: str = "", frame: "Frame | None" = None) -> int:
        """`show`, and wait until it was handed to the terminal: bytes, 0 where nothing had to be written."""
        done = asyncio.get_running_loop().create_future()
        self._awaited.append(done)
        self.show(data, caption=caption, frame=frame)
        written: int = await done
        return written

    def watch_mode(self) -> None:
        self._update()

    def on_resize(self) -> None:
        self._update()

    def on_unmount(self) -> None:
        self._answer([*self._taken(), *self._awaited_paint], 0)
        self._forget_pixels()

    def render_line(self, y: int) -> Strip:
        if y < len(self._lines):
            return self._lines[y]
        return Strip.blank(self.size.width, self.rich_style)

    def visible_area(self) -> Region | None:
        """Where on the screen the picture's cells are, if all of them are to be seen and nothing covers any."""
        if not self._encoded.drawn or not self._lines:
            return None
        content = self.content_region
        left, top = self._corner(self._encoded)
        area = Region(content.x + left, content.y + top, self._encoded.columns, self._encoded.rows)
        for widget, (region, clip) in self.screen._compositor.visible_widgets.items():  # the topmost first
            if widget is self:
                return area if clip.contains_region(area) and region.contains_region(area) else None
            if region.intersection(clip).overlaps(area):
                return None
        return None

    def pixels(self, area: Region) -> str:
        """The escape sequences that draw the picture there; the cursor is where it was then."""
        return f"\x1b7\x1b[{area.y + 1};{area.x + 1}H{self._encoded.drawn}\x1b8"

    def _wanted(self) -> _Rendition | None:
        """What is to be made of the bytes at this size and in this mode; None if no picture is to be shown."""
        width, height = self.size.width, self.size.height - bool(self._caption)
        if self._data is None or self.mode in ("off", "text") or width < 1 or height < 1:
            return None
        app, depth = self.app, depth_of(self.app)
        mode = _mode_here(self.mode, depth, isinstance(app, PictureApp))
        cell, colours, limit, detail = (1, 2), 0, None, None
        if isinstance(app, PictureApp):
            cell = app.cell_size()
            if mode in PIXELS:
                colours, limit = app.colours_of_sixel, app.line.limit
        if self._frame is not None:
            limit, detail = self._frame.limit, (self._frame.columns, self._frame.rows)
            if mode in PIXELS:
                limit = min(limit, _MOST_OF_PREVIEW[mode])
                width, height = min(width, _MOST_IN_PREVIEW[0]), min(height, _MOST_IN_PREVIEW[1])
        digest = len(self._data), hash(self._data)
        return _Rendition(digest, width, height, mode, depth, cell, limit, detail, colours)

    def _is_good_enough(self, job: _Rendition) -> bool:
        """What is shown or being made is that, in about as many bytes as it may have."""
        now = self._job
        if now is None or now.limit is None or job.limit is None:
            return now == job
        return now._replace(limit=job.limit) == job and job.limit < 2 * now.limit

    def _update(self) -> None:
        if not self.size:  # not laid out yet; a resize follows
            return
        job = self._wanted()
        if job is not None and self._is_good_enough(job):
            if self._making:
                return
            if self._composed_for == self.size:
                self._answer(self._taken(), 0)
                return
        self._making = False
        self._job = job
        if job is None:
            self._put(_NOTHING)
        elif job in self._cache:
            self._put(self._cache[job])
        else:
            self._making = True
            self._make(job, self._data or b"")

    @work(group="picture", exclusive=True)
    async def _make(self, job: _Rendition, data: bytes) -> None:
        encoded = await asyncio.to_thread(_encode, job, data)
        while len(self._cache) >= _CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[job] = encoded
        if job == self._job:
            self._making = False
            if encoded == self._encoded and self._composed_for == self.size:  # it was as fine as it can be
                self._answer(self._taken(), 0)
            else:
                self._put(encoded)

    def _put(self, encoded: _Encoded) -> None:
        """On the screen with it, and away with what was there."""
        old = self._image_id
        self._image_id, self._encoded = None, encoded
        out, strips = "", encoded.strips
        app = self.app
        self._handed_at = time.monotonic()
        if isinstance(app, PictureApp):
            if encoded.png:
                out, strips = self._send_to_kitty(encoded)
            app.undraw(self)
            app.drawings.add(self) if encoded.drawn else app.drawings.discard(self)
            app.write_to_terminal(out)
        before, self._lines = self._lines, self._composed(encoded, strips)
        self._besides = len(out) + len(encoded.drawn)
        self._nbytes = self._besides + self._repaint(before)
        if old is not None:
            self._old_images.append(old)
        self._awaited_paint += self._taken()
        if isinstance(app, PictureApp) and self.screen is app.screen and self.is_on_screen:
            app.unpainted.add(self)
        else:
            self.call_after_refresh(self.painted)

    def _repaint(self, before: list[Strip]) -> int:
        """Have the lines written that changed, and of those around a picture of the same place no margins: bytes."""
        width, height = self.size
        same_shape = bool(self._place) and len(before) == len(self._lines) and self._placed_before == self._place
        self._placed_before, place = self._place, self._place
        if not same_shape:
            place = Region(0, 0, width, height)
        lines = [self._lines[y].crop(place.x, place.right) for y in range(place.y, min(place.bottom, len(self._lines)))]
        if same_shape and self._caption and self._lines:
            self.refresh(place, Region(0, height - 1, width, 1))
            lines.append(self._lines[-1])
        else:
            self.refresh(place)
        return sum(len(line.render(self.app.console).encode()) + _CURSOR_MOVE for line in lines)

    def painted(self, cells: int | None = None) -> None:
        """Textual has written the cells of the newest picture; what hangs on that is done. cells: the bytes that it
        took; unset: as many as they take whole."""
        if cells is not None:
            self._nbytes = self._besides + cells
        if isinstance(self.app, PictureApp):
            self.app.unpainted.discard(self)
            if self._encoded.drawn:
                self.app.draw_over_cells()
        while self._old_images:
            self._delete(self._old_images.pop())
        self._answer(self._awaited_paint, self._nbytes)
        self._awaited_paint = []
        self.post_message(self.Written(self, self._nbytes))
        if self._besides and self._frame is None:
            self._besides = 0
            self._measure(self._nbytes, self._handed_at)

    @work(group="measure", exclusive=True)
    async def _measure(self, nbytes: int, since: float) -> None:
        """How long the terminal took for the picture; where it can have a finer one, it gets that."""
        if isinstance(self.app, PictureApp) and await self.app.line_is_measured(nbytes, since):
            self._update()

    def _taken(self) -> list[asyncio.Future[int]]:
        taken, self._awaited = self._awaited, []
        return taken

    @staticmethod
    def _answer(awaited: list[asyncio.Future[int]], nbytes: int) -> None:
        for done in awaited:
            if not done.done():
                done.set_result(nbytes)

    def _send_to_kitty(self, encoded: _Encoded) -> tuple[str, tuple[Strip, ...]]:
        from sdterm.tui.picture import kitty

        self._image_id = next_image_id(self.app)
        return (
            kitty.transmit(self._image_id, encoded.png, encoded.columns, encoded.rows),
            tuple(kitty.placeholder_strips(self._image_id, encoded.columns, encoded.rows)),
        )

    def _forget_pixels(self) -> None:
        if isinstance(self.app, PictureApp):
            self.app.undraw(self)
            self.app.drawings.discard(self)
            self.app.unpainted.discard(self)
        for image_id in (*self._old_images, self._image_id):
            if image_id is not None:
                self._delete(image_id)

    def _delete(self, image_id: int) -> None:
        from sdterm.tui.picture import kitty

        if isinstance(self.app, PictureApp):
            self.app.write_to_terminal(kitty.delete(image_id))

    def _corner(self, encoded: _Encoded) -> tuple[int, int]:
        width, height = self.size.width, self.size.height - bool(self._caption)
        return max(0, width - encoded.columns) // 2, max(0, height - encoded.rows) // 2

    def _composed(self, encoded: _Encoded, strips: tuple[Strip, ...]) -> list[Strip]:
        """Every line of the widget."""
        width, height = self.size.width, self.size.height
        style = self.rich_style
        self._composed_for = self.size
        if self.mode == "off" or width < 1 or height < 1:
            return []
        lines = [Strip.blank(width, style)] * height
        left, top = self._corner(encoded)
        self._place = Region(left, top, encoded.columns, encoded.rows)
        for y, strip in enumerate(strips, top):
            right = width - left - strip.cell_length
            lines[y] = Strip.join([Strip.blank(left, style), over(strip, style), Strip.blank(right, style)])
        if said := encoded.error or (self.hint if self._data is None and not self._caption else ""):
            words = Text(said).wrap(self.app.console, width)
            for y, line in enumerate(words[:height], max(0, (height - len(words)) // 2)):
                lines[y] = _centred(line.plain, width, style)
        if self._caption:
            lines[-1] = _centred(self._caption, width, style)
        return lines


def next_image_id(app: App[Any]) -> int:
    """A number for a picture that kitty keeps."""
    from sdterm.tui.picture import kitty

    if not _IMAGE_IDS:
        _IMAGE_IDS.append(kitty.image_ids(app.console.color_system == "truecolor"))
    return next(_IMAGE_IDS[0])


_IMAGE_IDS: list[Iterator[int]] = []
"""One for the whole program, once it is known what colours there are."""


def depth_of(app: App[Any]) -> Depth:
    """What colours the application has."""
    return _DEPTHS.get(app.console.color_system, "mono") if not app.no_color else "mono"


def over(strip: Strip, style: Style) -> Strip:
    """A strip whose cells without a background have the widget's style. The others need none, and so fewer bytes."""
    segments = (
        segment if segment.style and segment.style.bgcolor else Segment(segment.text, style + segment.style)
        for segment in strip
    )
    return Strip(segments, strip.cell_length)


def _centred(text: str, width: int, style: Style) -> Strip:
    strip = Strip([Segment(text.strip(), style)]).crop(0, width)
    left = (width - strip.cell_length) // 2
    return strip.crop_pad(strip.cell_length, left, width - left - strip.cell_length, style)


def _mode_here(mode: Protocol, depth: Depth, has_pixels: bool) -> _Mode:
    match mode:
        case "ascii" | "half" | "quadrant" | "sextant":
            return mode
        case "kitty" | "iterm" | "sixel" if has_pixels and depth in _NEEDED[mode]:
            return mode
    return "half"


def _encode(job: _Rendition, data: bytes) -> _Encoded:
    """Off the interface's thread: decoding and encoding take up to some hundred ms."""
    from PIL.Image import Resampling

    from sdterm.tui.picture import image, iterm, kitty, sixel
    from sdterm.tui.picture.characters import characters

    across, down = _DOTS.get(job.mode, job.cell)
    try:
        picture = image.read(data, max(128, job.columns * across), max(128, job.rows * down))
    except image.PictureError as error:
        return _Encoded(0, 0, error=str(error))
    most = min(job.columns, kitty.MOST), min(job.rows, kitty.MOST)
    columns, rows = image.fit(picture.size, *(most if job.mode == "kitty" else (job.columns, job.rows)), job.cell)
    match job.mode:
        case "kitty":
            limit = kitty.free_bytes(columns, rows, job.limit or kitty.LIMIT)
            return _Encoded(columns, rows, png=kitty.encode(picture, limit, (columns * across, rows * down)))
        case "iterm":
            return _Encoded(
                columns, rows, drawn=iterm.encode(picture, columns, rows, job.cell, job.limit or sixel.LIMIT)
            )
        case "sixel":
            limit = job.limit or sixel.LIMIT
            colours = min(sixel.COLOURS, job.colours or sixel.COLOURS)
            return _Encoded(columns, rows, drawn=sixel.encode(picture, columns, rows, job.cell, limit, colours))
    if job.detail:
        coarse = image.fit(picture.size, min(job.detail[0], columns), min(job.detail[1], rows), job.cell)
        picture = picture.resize((coarse[0], 2 * coarse[1]), Resampling.BOX)
    return _Encoded(columns, rows, tuple(characters(picture, columns, rows, job.depth, job.limit, job.mode)))

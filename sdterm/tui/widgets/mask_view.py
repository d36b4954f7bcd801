"""A picture with its mask over it, and a cursor that draws the mask by keys or the mouse."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from PIL import Image
from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sdterm.tui import mask
from sdterm.tui.actions import bindings
from sdterm.tui.language import tr
from sdterm.tui.mask import EMPTY, FULL, Box, Canvas, History, Point
from sdterm.tui.picture.masked import BARE, TINTS, Cell, Rows, cells, changed, cost, refined, segment_of
from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import depth_of, next_image_id
from sdterm.tui.picture.window import Window
from sdterm.tui.shell import HasShell

Tool: TypeAlias = Literal["brush", "rectangle", "ellipse", "lasso"]

AT_ONCE = 1_800
"""The most bytes of cells that one change of the picture sends before the next key is heard."""
_OF_A_STROKE = 600  # bytes of cells, for all of its keys together; when they are spent, neighbours become one colour
_A_KEY = 40  # for each key at least
_REST = 0.3  # seconds without a key after which what was shown coarsely is refined
_PAUSE = 0.05  # between two parts of that
_FAR = 8  # dots that Shift and an arrow go
_CURSOR = {0: "▀", 1: "▄"}
_WHITE_ON_BLACK = Style(color="bright_white", bgcolor="black")  # bold would be ten bytes more a step


@dataclass(frozen=True)
class Stroke:
    """A shape that was begun: its tool, and the dots where the cursor was since."""

    tool: Tool
    dots: tuple[tuple[int, int], ...]
    window: Window

    @property
    def has_box(self) -> bool:
        """Whether it is drawn between two corners."""
        return self.tool in ("rectangle", "ellipse")

    @property
    def box(self) -> Box:
        """The picture's pixels between where it began and where the cursor is."""
        one, other = (self.window.pixels_of(dot) for dot in (self.dots[0], self.dots[-1]))
        return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])

    def drawn(self, canvas: Canvas, radius: int, value: int) -> Canvas:
        """The canvas with it, as if it ended here."""
        if self.has_box:
            return (mask.rectangle if self.tool == "rectangle" else mask.ellipse)(canvas, self.box, value)
        points = [self.window.centre_of(dot) for dot in self.dots]
        if self.tool == "brush":
            return mask.brush(canvas, points, radius, value)
        return mask.lasso(self.previewed(canvas, radius, value), points, value)

    def previewed(self, canvas: Canvas, radius: int, value: int) -> Canvas:
        """What is shown of it before it ends: what only grows while the cursor goes on, so that it costs few bytes."""
        if self.tool == "lasso":
            return mask.brush(
                canvas, [self.window.centre_of(dot) for dot in self.dots], round(self.window.step / 2), value
            )
        return canvas if self.tool == "ellipse" else self.drawn(canvas, radius, value)

    def at(self, dot: tuple[int, int]) -> Stroke:
        """With the cursor somewhere else."""
        return self if dot == self.dots[-1] else Stroke(self.tool, (*self.dots, dot), self.window)


class MaskView(HasShell, Widget, can_focus=True):
    """The canvas is the picture's own size, however little of that is to be seen here."""

    scopes = ("mask",)
    first_keys = ("use_mask",)
    DEFAULT_CSS = "MaskView { width: 1fr; height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("mask"),
        Binding("left,h", "move(-1, 0)", show=False),
        Binding("right,l", "move(1, 0)", show=False),
        Binding("up,k", "move(0, -1)", show=False),
        Binding("down,j", "move(0, 1)", show=False),
        Binding("shift+left,H", f"move({-_FAR}, 0)", show=False),
        Binding("shift+right,L", f"move({_FAR}, 0)", show=False),
        Binding("shift+up,K", f"move(0, {-_FAR})", show=False),
        Binding("shift+down,J", f"move(0, {_FAR})", show=False),
        Binding("home", "move(-100000, 0)", show=False),
        Binding("end", "move(100000, 0)", show=False),
        Binding("pageup", "move(0, -100000)", show=False),
        Binding("pagedown", "move(0, 100000)", show=False),
        *(Binding(str(digit), f"digit({digit})", show=False) for digit in range(10)),
        Binding("escape", "leave", show=False),
    ]

    class Changed(Message):
        """The mask, the tool or what is in sight is another one."""

    class Moved(Message):
        """The cursor is somewhere else, or a number was typed."""

    class Done(Message):
        """The mask is to be used."""

    class Left(Message):
        """Enough drawn."""

    def __init__(self, picture: Image.Image, canvas: Canvas, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.picture, self.history = picture, History(canvas)
        self.radius = max(1, round(min(picture.size) / 40))
        self.erases = False
        self.stroke: Stroke | None = None
        self._tool: Tool = "brush"  # the mouse draws with
        self._count = ""  # how far the next arrow goes
        self._tint = 0
        self._cursor = (0, 0)
        self._window: Window | None = None
        self._small: tuple[Window, Image.Image] | None = (
            None  # what is in sight of the picture, at the size of its dots
        )
        self._wanted: Rows = ()
        self._shown: Rows = ()
        self._rough: set[tuple[int, int]] = set()  # cells (row, column) of a stroke: they stay as they are shown
        self._spent = 0
        self._image_id: int | None = None  # what kitty keeps of the picture

    # --- what stands there --------------------------------------------------------------------------------------------

    @property
    def _value(self) -> int:
        return EMPTY if self.erases else FULL

    @property
    def tint(self) -> tuple[int, int, int]:
        return TINTS[self._tint]

    @property
    def window(self) -> Window:
        """What is in sight."""
        if self._window is None:
            width, height = self.size
            self._window = Window.whole(*self.picture.size, max(1, width), max(1, height))
            self._cursor = self._window.dots[0] // 2, self._window.dots[1] // 2
        return self._window

    @property
    def cursor(self) -> Point:
        """The picture's pixel where the cursor is."""
        return self.window.centre_of(self._cursor)

    def on_resize(self) -> None:
        before = self._window
        if not self.size or (before and self._laid_out_for == self.size):
            return
        self._laid_out_for = self.size
        pixel = before.centre_of(self._cursor) if before else None
        self._window = None
        if before and pixel:
            if self.stroke:
                self.action_drop_stroke()
            fitting = Window.whole(*self.picture.size, *self.size)
            middle = round((before.box[0] + before.box[2]) / 2), round((before.box[1] + before.box[3]) / 2)
            self._look(fitting.nearer(middle, before.zoom), pixel)
        else:
            self._look(self.window, self.window.centre_of(self._cursor))

    _laid_out_for = Size(0, 0)

    def render_line(self, y: int) -> Strip:
        width, style = self.size.width, self.rich_style
        left, top = self._corner()
        row = y - top
        if not 0 <= row < len(self._shown):
            return Strip.blank(width, style)
        segments = [self._segment(cell, x, row) for x, cell in enumerate(self._shown[row])]
        style_of_cursor = Style(reverse=True) if depth_of(self.app) == "mono" else _WHITE_ON_BLACK
        if self.stroke and self.stroke.dots[0][1] // 2 == row:
            segments[self.stroke.dots[0][0]] = Segment("+", style_of_cursor)
        if self._cursor[1] // 2 == row:
            segments[self._cursor[0]] = Segment(_CURSOR[self._cursor[1] % 2], style_of_cursor)
        right = width - left - len(segments)
        return Strip([Segment(" " * left, style), *segments, Segment(" " * right, style)], width)

    def _segment(self, cell: Cell, x: int, row: int) -> Segment:
        if cell == BARE and self._image_id is not None:
            from sdterm.tui.picture import kitty

            return kitty.placeholder(self._image_id, x, row)
        return segment_of(cell, depth_of(self.app))

    def _corner(self) -> tuple[int, int]:
        rows, columns = len(self._shown), len(self._shown[0]) if self._shown else 0
        return max(0, self.size.width - columns) // 2, max(0, self.size.height - rows) // 2

    def _look(self, window: Window, pixel: Point) -> None:
        """Show another part of the picture, with the cursor on a pixel."""
        self._window, self._cursor = window, window.dot_at(pixel)
        self._rough.clear()
        self._send_picture()
        self._wanted = self._cells()
        if [len(row) for row in self._shown] != [len(row) for row in self._wanted]:
            self._shown = tuple(tuple(Cell((0, 0, 0), (0, 0, 0)) for _ in row) for row in self._wanted)
            self.refresh()
        self._show(changed(self._shown, self._nothing(), self._wanted, AT_ONCE, depth_of(self.app)))
        self.post_message(self.Changed())

    def _nothing(self) -> Rows:
        """Rows of which no cell is as it is wanted, so that each of them is shown anew."""
        return tuple(tuple(Cell((-2, 0, 0), (0, 0, 0)) for _ in row) for row in self._wanted)

    def _cells(self) -> Rows:
        window = self.window
        size = window.dots
        if self._small is None or self._small[0] != window:
            self._small = window, self.picture.resize(size, Image.Resampling.BOX, box=window.box)
        canvas = self.history.now
        if self.stroke:
            canvas = self.stroke.previewed(canvas, self.radius, self._value)
        covered = Image.fromarray(canvas).resize(size, Image.Resampling.BOX, box=window.box)
        found = cells(self._small[1], covered, window.columns, window.rows, depth_of(self.app), self.tint)
        if self._image_id is None:
            return found
        return tuple(tuple(cell if cell.covered else BARE for cell in row) for row in found)

    def _draw_again(self, limit: int = AT_ONCE, *, all_of_it: bool = False) -> None:
        """Show what the mask is now, in at most so many bytes. Covered cells stay as they are shown then."""
        before, self._wanted = self._wanted, self._cells()
        if before == self._wanted:
            return
        rows = changed(self._shown, before, self._wanted, limit, depth_of(self.app), all_of_it=all_of_it)
        for row, (was, now) in enumerate(zip(before, self._wanted, strict=True)):
            for x in (x for x in range(len(now)) if was[x] != now[x]):
                is_told = now[x].covered and rows[row][x].covered
                (self._rough.add if is_told else self._rough.discard)((row, x))
        self._show(rows)

    def _show(self, rows: Rows) -> None:
        left, top = self._corner()
        before, self._shown = self._shown, rows
        spans = [_span(row, *pair) for row, pair in enumerate(zip(before, rows, strict=True)) if pair[0] != pair[1]]
        if regions := [Region(left + x, top + row, width, 1) for row, x, width in spans]:
            self.refresh(*regions)
        self._refine()

    @work(group="refine", exclusive=True)
    async def _refine(self) -> None:
        """Once no key comes any more, show what has room on the line only by and by."""
        await asyncio.sleep(_REST)
        while (fine := self._fine()) != self._shown:
            left, top = self._corner()
            before, self._shown = self._shown, refined(self._shown, fine, AT_ONCE, depth_of(self.app))
            self.refresh(
                *(
                    Region(left, top + row, len(new), 1)
                    for row, (old, new) in enumerate(zip(before, self._shown, strict=True))
                    if old != new
                )
            )
            await asyncio.sleep(_PAUSE)
            if isinstance(self.app, PictureApp):
                await self.app.terminal_has_read()

    def _fine(self) -> Rows:
        return tuple(
            tuple(shown if (row, x) in self._rough else cell for x, (shown, cell) in enumerate(zip(*both, strict=True)))
            for row, both in enumerate(zip(self._shown, self._wanted, strict=True))
        )

    # --- kitty --------------------------------------------------------------------------------------------------------

    def _send_picture(self) -> None:
        """Give kitty the part that is in sight; covered cells are half blocks over it."""
        before, self._image_id = self._image_id, None
        app = self.app
        if isinstance(app, PictureApp) and self.shell.picture_mode() == "kitty" and depth_of(app) == "truecolor":
            from sdterm.tui.picture import kitty

            window = self.window
            part = self.picture.resize((256, max(1, 256 * window.rows * 2 // window.columns)), box=window.box)
            self._image_id = next_image_id(app)
            png = kitty.encode(part, kitty.free_bytes(window.columns, window.rows))
            app.write_to_terminal(kitty.transmit(self._image_id, png, window.columns, window.rows))
        self._forget(before)

    def _forget(self, image_id: int | None) -> None:
        if image_id is not None and isinstance(self.app, PictureApp):
            from sdterm.tui.picture import kitty

            self.app.write_to_terminal(kitty.delete(image_id))

    def on_unmount(self) -> None:
        self._forget(self._image_id)

    # --- the cursor ---------------------------------------------------------------------------------------------------

    def action_digit(self, digit: int) -> None:
        self._count = (self._count + str(digit)).lstrip("0")[-4:]
        self.post_message(self.Moved())

    @property
    def count(self) -> int | None:
        """The number that was typed for the next key."""
        return int(self._count) if self._count else None

    def action_move(self, across: int, down: int) -> None:
        times = int(self._count or 1)
        self._count = ""
        window = self.window
        x, y = self._cursor[0] + across * times, self._cursor[1] + down * times
        if self.stroke is None and window.zoom > 1 and window.within((x, y)) == self._cursor:
            step = window.step
            pixel = self.cursor[0] + across * times * step, self.cursor[1] + down * times * step
            self._go_to_pixel((_between(pixel[0], self.picture.width), _between(pixel[1], self.picture.height)))
        else:
            self._go_to_dot(window.within((x, y)))

    def _go_to_pixel(self, pixel: Point) -> None:
        window = self.window.holding(pixel)
        if window != self.window:
            self._look(window, pixel)
        else:
            self._go_to_dot(window.dot_at(pixel))

    def _go_to_dot(self, dot: tuple[int, int]) -> None:
        before, self._cursor = self._cursor, dot
        if before == dot:
            return
        self._refresh_dots(before, dot)
        if self.stroke:
            self.stroke = self.stroke.at(dot)
            self._draw_stroke()
        self.post_message(self.Moved())

    def _refresh_dots(self, *dots: tuple[int, int]) -> None:
        left, top = self._corner()
        self.refresh(*(Region(left + x, top + y // 2, 1, 1) for x, y in dots))

    def _draw_stroke(self) -> None:
        before = self._shown
        self._draw_again(max(_A_KEY, (_OF_A_STROKE - self._spent) // 4), all_of_it=True)
        self._spent += cost(before, self._shown, depth_of(self.app))

    # --- shapes -------------------------------------------------------------------------------------------------------

    def action_brush(self) -> None:
        self._begin_or_end("brush")

    def action_rectangle(self) -> None:
        self._begin_or_end("rectangle")

    def action_ellipse(self) -> None:
        self._begin_or_end("ellipse")

    def action_lasso(self) -> None:
        self._begin_or_end("lasso")

    def _begin_or_end(self, tool: Tool) -> None:
        is_its_end = self.stroke is not None and self.stroke.tool == tool
        self.end_stroke()
        if not is_its_end:
            self._tool = tool
            self.stroke, self._spent = Stroke(tool, (self._cursor,), self.window), 0
            self._draw_stroke()
            self.post_message(self.Changed())

    def end_stroke(self) -> bool:
        """What was begun is a part of the mask. Returns whether anything was."""
        if self.stroke is None:
            return False
        stroke, self.stroke = self.stroke, None
        self.history.change(stroke.drawn(self.history.now, self.radius, self._value))
        self._draw_stroke()
        self._refresh_dots(stroke.dots[0])
        self.post_message(self.Changed())
        return True

    def action_drop_stroke(self) -> None:
        """As if nothing had been begun."""
        if self.stroke is not None:
            begun, self.stroke = self.stroke.dots[0], None
            self._draw_again()
            self._refresh_dots(begun)
            self.post_message(self.Changed())

    def action_erase(self) -> None:
        self.erases = not self.erases
        if self.stroke:
            self._draw_again()
        self.post_message(self.Changed())

    def action_thicker(self) -> None:
        self._resize_brush(max(self.radius + 1, round(self.radius * 1.4)))

    def action_thinner(self) -> None:
        self._resize_brush(min(self.radius - 1, round(self.radius / 1.4)))

    def _resize_brush(self, radius: int) -> None:
        self.radius = max(0, min(max(self.picture.size) // 2, radius))
        if self.stroke:
            self._draw_again()
        self.post_message(self.Changed())

    # --- the whole mask -----------------------------------------------------------------------------------------------

    def action_grow(self) -> None:
        self._change(mask.grown(self._ended(), self._pixels()))

    def action_shrink(self) -> None:
        self._change(mask.shrunk(self._ended(), self._pixels()))

    def action_invert_mask(self) -> None:
        self._change(mask.inverted(self._ended()))

    def action_clear_mask(self) -> None:
        self._change(mask.blank(*self.picture.size))

    def action_undo_stroke(self) -> None:
        if self.stroke:
            self.action_drop_stroke()
        elif self.history.back():
            self._changed()
        else:
            self.shell.say(tr("Nothing to undo."))

    def action_redo_stroke(self) -> None:
        self.end_stroke()
        if self.history.forth():
            self._changed()
        else:
            self.shell.say(tr("Nothing to redo."))

    def _ended(self) -> Canvas:
        self.end_stroke()
        return self.history.now

    def _pixels(self) -> int:
        """How far the mask grows or shrinks: as many as were typed, or a dot."""
        typed, self._count = self.count, ""
        return max(1, round(self.window.step)) if typed is None else typed

    def _change(self, canvas: Canvas) -> None:
        self.stroke = None
        if self.history.change(canvas):
            self._changed()

    def _changed(self) -> None:
        self._draw_again()
        self.post_message(self.Changed())

    def action_use_mask(self) -> None:
        """End what was begun; if nothing was, the mask is done."""
        if not self.end_stroke():
            self.post_message(self.Done())

    def action_leave(self) -> None:
        """Drop what was begun; if nothing was, leave."""
        if self.stroke:
            self.action_drop_stroke()
        else:
            self.post_message(self.Left())

    # --- what is in sight ---------------------------------------------------------------------------------------------

    def action_zoom_in(self) -> None:
        """To the region that was begun, else nearer to the cursor."""
        pixel, stroke = self.cursor, self.stroke
        if stroke and stroke.tool == "rectangle" and len(stroke.dots) > 1:
            self.stroke = None
            self._look(self.window.around(stroke.box), pixel)
            return
        self.end_stroke()
        self._look(self.window.nearer(pixel), pixel)

    def action_zoom_out(self) -> None:
        self.end_stroke()
        pixel = self.cursor
        if self.window.zoom > 1:
            self._look(self.window.nearer(pixel, 0.5), pixel)

    def action_tint(self) -> None:
        """The mask in another colour."""
        self._tint = (self._tint + 1) % len(TINTS)
        self._look(self.window, self.cursor)

    # --- the mouse ----------------------------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        event.stop()
        self.end_stroke()
        self._go_to_dot(self._dot_under(event))
        self.capture_mouse()
        self._begin_or_end(self._tool)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button and self.stroke:
            self._go_to_dot(self._dot_under(event))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        event.stop()
        self.release_mouse()
        self.end_stroke()

    def _dot_under(self, event: events.MouseEvent) -> tuple[int, int]:
        left, top = self._corner()
        at = event.get_content_offset_capture(self)
        return self.window.within((at.x - left, 2 * (at.y - top)))


def _between(value: float, size: int) -> int:
    return max(0, min(size - 1, round(value)))


def _span(row: int, old: tuple[Cell, ...], new: tuple[Cell, ...]) -> tuple[int, int, int]:
    """Where two rows differ: the row, the first cell, and how many."""
    differing = [x for x, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
    return row, differing[0], differing[-1] - differing[0] + 1

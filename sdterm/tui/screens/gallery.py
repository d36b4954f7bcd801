"""Gallery: every saved picture, the newest first or in another order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.coordinate import Coordinate
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from sdterm.core.infotext.grammar import parse, write
from sdterm.core.settings.settings import SETTINGS_BY_KEY
from sdterm.core.text import printable
from sdterm.tui import batches, calls
from sdterm.tui.actions import bindings
from sdterm.tui.batches import Line
from sdterm.tui.differing import seed_of
from sdterm.tui.filter_words import values_in
from sdterm.tui.gallery_columns import MARKS, PROMPT, Column, cells, columns, cut, excerpt, fit, in_need
from sdterm.tui.keymap import shown
from sdterm.tui.language import counted, tr
from sdterm.tui.screens.base import BaseScreen
from sdterm.tui.widgets.bars import KeyBar
from sdterm.tui.widgets.filter_line import FilterLine
from sdterm.tui.widgets.invitation import EXAMPLES, empty_list
from sdterm.tui.widgets.large import ChosenPicture
from sdterm.tui.widgets.picture_actions import PictureActions
from sdterm.tui.widgets.rows import Table, cell
from sdterm.tui.widgets.tiles import Tiles
from sdterm.tui.widgets.wall import Wall

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture

_PAGE = 100
_MOST_AT_ONCE = 500  # pictures
_NEAR = 20  # rows before the last one at which the next page is fetched
_SAMPLE = 200  # rows by which columns are measured
_IN_SIGHT = 12  # lines in which the nearest other prompt is looked for


_WALL = 16  # cells of a picture's width, at least


class PictureTable(PictureActions, Table):
    """Pictures, one a line, or a batch of them."""

    own_keys = ()  # its border names those of the list
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g", "scroll_top", show=False),
        Binding("G", "scroll_bottom", show=False),
    ]

    class Shown(Message):
        """Other lines are shown."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", show_row_labels=False, zebra_stripes=False, cell_padding=0)
        self.pictures: list[Picture] = []
        self.lines: list[Line] = []
        self.order = "-number"
        self.folds = False
        """Whether batches are folded, but for those in `turned`."""
        self.turned: set[int] = set()
        """Jobs whose batch is the other way."""
        self._cells: dict[int, dict[str, str]] = {}
        self._fitted: list[tuple[Column, int]] = []

    def chosen(self) -> Picture | None:
        line = self.line()
        return line.picture if line else None

    def action_move(self, by: int) -> None:
        self.move_cursor(row=max(0, min(len(self.lines) - 1, self.cursor_row + by)))

    def line(self) -> Line | None:
        """The line under the cursor."""
        return self.lines[self.cursor_row] if 0 <= self.cursor_row < len(self.lines) else None

    def fit(self) -> None:
        self.refit()

    def show(self, pictures: Iterable[Picture], at: Picture | None = None) -> None:
        """Other pictures, with the cursor on that one."""
        self.pictures = [*pictures]
        self.lines = []
        self._cells.clear()
        self._fitted = []
        self.refit(at)

    def add(self, pictures: Iterable[Picture]) -> None:
        """More pictures."""
        self.pictures += pictures
        self._arrange()

    def refold(self) -> None:
        """Have each batch as `folds` and `turned` say."""
        self._arrange()

    def wanted(self) -> list[Column]:
        """The columns that the setting asks for."""
        known = columns()
        names = self.shell.settings["gallery_columns"] or SETTINGS_BY_KEY["gallery_columns"].default
        return [known[name] for name in dict.fromkeys(names)]

    def refit(self, at: Picture | None = None) -> None:
        """Have the columns that fit."""
        signs = {self.order.removeprefix("-"): " ↓" if self.order.startswith("-") else " ↑"}
        rows = [self._row(picture) for picture in self.pictures[:_SAMPLE]]
        usual = SETTINGS_BY_KEY["gallery_columns"].default
        is_chosen = tuple(self.shell.settings["gallery_columns"]) not in ((), usual)
        ordered = self.wanted() if is_chosen else in_need(self.wanted(), rows)
        wanted = [replace(column, title=column.title + signs.get(column.id, "")) for column in ordered]
        self.show_header = bool(rows)
        fitted = fit(wanted, rows, max(0, self.scrollable_content_region.width - MARKS))
        if fitted == self._fitted and self.columns:
            self._arrange()
            return
        self._fitted = fitted
        at = at or self.chosen()
        self.lines = []
        self.clear(columns=True)
        self.add_column("", width=MARKS)
        for column, width in fitted:
            self.add_column(cell(cut(column.title, width - 1)), width=width)
        self._arrange(at)

    def _row(self, picture: Picture) -> dict[str, str]:
        if picture.id not in self._cells:
            self._cells[picture.id] = cells([*columns().values()], picture)
        return self._cells[picture.id]

    def _arrange(self, at: Picture | None = None) -> None:
        """Show the lines that there are now; the cursor stays with its picture, or where that was if it is gone."""
        at, row = at or self.chosen(), self.cursor_row
        new = batches.lines(self.pictures, lambda job: self.folds != (job in self.turned))
        same = next((i for i, (a, b) in enumerate(zip(self.lines, new, strict=False)) if a != b), None)
        same = min(len(self.lines), len(new)) if same is None else same
        if same < len(self.lines):
            same = 0
            self.clear()
        self.lines = new
        for number in range(same, len(new)):
            self.add_row(*self._shown(number))
        if at and not same:
            inside = (i for i, line in enumerate(new) if any(picture.id == at.id for picture in line.pictures))
            self.move_cursor(row=next(inside, min(row, len(new) - 1)))
        self.post_message(self.Shown())

    def _shown(self, number: int) -> Iterable[Text]:
        line = self.lines[number]
        row = self._row(line.picture)
        yield Text(self._sign(line), no_wrap=True)
        for column, width in self._fitted:
            if column.id == PROMPT:
                count = f"({len(line.pictures)}) " if line.is_folded else ""
                yield cell(count + excerpt(row[PROMPT], self._prompts_near(number), width - len(count)))
            else:
                yield cell(cut(row[column.id], width - 1))

    def mark(self, line: Line) -> str:
        """The sign before a line, of one cell."""
        if any(picture.id in self.shell.marks for picture in line.pictures):
            return "*"
        return "!" if any(picture.missing for picture in line.pictures) else " "

    def refresh_marks(self) -> None:
        """Show which pictures are marked now."""
        for number, line in enumerate(self.lines):
            sign, place = self._sign(line), Coordinate(number, 0)
            if self.get_cell_at(place).plain != sign:
                self.update_cell_at(place, Text(sign, no_wrap=True))

    def _sign(self, line: Line) -> str:
        """What stands before a line: room for the bar, what is said of it, and whether it is a batch."""
        return " " + self.mark(line) + ("▸" if line.is_folded else "▾" if line.opens else " ")

    def _prompts_near(self, number: int) -> list[str]:
        below = self.lines[number + 1 : number + _IN_SIGHT]
        above = self.lines[max(0, number - _IN_SIGHT) : number]
        return [self._row(line.picture)[PROMPT] for line in (*below, *reversed(above))]

    def remove_picture(self, picture: int) -> bool:
        """Have a picture less; the cursor stays where it is. Returns whether it was in the list."""
        left = [shown for shown in self.pictures if shown.id != picture]
        if len(left) == len(self.pictures):
            return False
        self.pictures = left
        self._arrange()
        return True


class GalleryWall(Wall):
    """The lines of the table as small pictures."""

    own_keys = ()


class GalleryScreen(BaseScreen):
    """The list or the wall, a picture, its parameters."""

    tab = "go_gallery"
    scopes = ("gallery",)
    AUTO_FOCUS = "PictureTable"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("gallery")]

    def __init__(self) -> None:
        super().__init__()
        self._query = ""
        self._next: str | None = None
        self._fetching = False
        self._total = 0  # pictures that match the filter
        self._is_behind = False
        """Whether pictures were drawn that are not in the list."""

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="desk"):
            with Vertical(id="list"):
                yield FilterLine()
                yield PictureTable()
                wall = GalleryWall(least=_WALL)
                wall.display = False
                yield wall
            with Vertical(classes="details") as details:
                self._share(details, self.app.size)
                yield ChosenPicture(lambda: self.table)
                with VerticalScroll(can_focus=False):
                    yield Static(id="infotext", markup=False)

    @property
    def table(self) -> PictureTable:
        return self.query_one(PictureTable)

    @property
    def wall(self) -> GalleryWall:
        return self.query_one(GalleryWall)

    def on_mount(self) -> None:
        self.table.folds = self.shell.settings["gallery_folded"]
        self._load()

    def on_screen_resume(self) -> None:
        for table in self.query(PictureTable):
            table.refit()
        if self._is_behind:
            self._load(stay=True)

    def on_resize(self, event: events.Resize) -> None:
        for details in self.query(".details"):
            self._share(details, event.size)

    def _share(self, details: Widget, size: Size) -> None:
        """Give the picture what a square one can use."""
        wide = max(32, min(2 * (size.height - 15), size.width - 64))
        details.styles.width = wide if size.width >= 80 else None

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self, *, stay: bool = False) -> None:
        """From the first page on; stay: with the cursor on the same picture."""
        query, table = self._query, self.table
        self._is_behind = False
        limit = max(_PAGE, min(_MOST_AT_ONCE, len(table.pictures) + 1)) if stay else _PAGE
        page = await self.ask(calls.pictures(query, limit=limit, order=table.order))
        if page is None:
            return
        self._next = page.next
        table.show(page.pictures, table.chosen() if stay else None)
        self._count(page.total or 0)
        keys = {name: self.shell.key(name) for name in ("load", "filter", "thumbnails", "large")}
        hint = tr("{load} loads, {filter} filters, {thumbnails} wall, {large} large", **keys)
        table.border_subtitle = self.wall.border_subtitle = hint if page.pictures else ""
        self.query_one(FilterLine).learn(values_in(page.pictures))
        table.say_nothing(self._empty())
        self.set_class(not (page.pictures or query), "-empty")
        if query and not page.pictures:
            self.say(self._empty().plain)

    def _empty(self) -> Text:
        """What is said, and what to do next, where no image is listed."""
        if self._query:
            return Text(tr("No match: {key}, then clear the filter.", key=self.shell.key("filter")))
        generate = tr("Write a prompt; {key} generates an image.", key=self.shell.key("generate"))
        return empty_list(
            self.table,
            tr("The gallery is empty"),
            tr("Every image you generate is kept here with its prompt and parameters: find, compare and reuse it."),
            [
                (self.shell.key("go_generate"), generate),
                (shown("alt+1"), tr("Generate an example: {prompt}", prompt=EXAMPLES[0])),
            ],
        )

    def _count(self, total: int) -> None:
        self._total = total
        title = counted("Gallery  {number} image", "Gallery  {number} images", total)
        self.table.border_title = self.wall.border_title = title

    @on(PictureTable.Shown)
    def _show_wall(self) -> None:
        lines = self.table.lines
        self.wall.show(
            [line.picture for line in lines], [partial(_label, line) for line in lines], self.table.cursor_row
        )

    @on(PictureTable.Shown)
    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        table = self.table
        if picture := table.chosen():
            self._tell(picture)
        else:
            self.query_one("#infotext", Static).update("")
        self.query_one(ChosenPicture).show_chosen()
        self.query(KeyBar).refresh()
        if self.focused is not self.wall:  # which goes before the table
            self.wall.choose(table.cursor_row)
        if self._is_behind and not table.cursor_row:
            self._load()
        if self._next and table.cursor_row >= len(table.lines) - max(_NEAR, self.size.height):
            self._more()

    @on(DataTable.RowSelected)
    def _selected(self, event: DataTable.RowSelected) -> None:
        self.table.action_load()

    @work(group="more")
    async def _more(self) -> None:
        if self._fetching or not self._next:
            return
        self._fetching = True
        try:
            cursor, query, order = self._next, self._query, self.table.order
            page = await self.ask(calls.pictures(query, limit=_PAGE, cursor=cursor, order=order))
            if page is not None and (cursor, query, order) == (self._next, self._query, self.table.order):
                self._next = page.next
                self.table.add(page.pictures)
                self.query_one(FilterLine).learn(values_in(self.table.pictures[:1000]))
        finally:
            self._fetching = False

    def _tell(self, picture: Picture) -> None:
        said = parse(picture.infotext)
        shown = {key: value for key, value in said.parameters.items() if key != "sdterm"}  # which programs alone read
        told = write(said.prompt, said.negative_prompt, shown)
        lines = [printable(line, 2000) for line in told.splitlines()]
        where = printable(picture.path)
        if picture.missing:
            lines.insert(0, tr("! the file is missing: {path}", path=where))
        else:
            lines.append(where)
        self.query_one("#infotext", Static).update(Text("\n".join(lines)))

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Image, PictureDeleted, PictureRestored

        if isinstance(entry.event, PictureDeleted):
            if self.table.remove_picture(entry.event.picture) or not self._query:
                self._count(max(0, self._total - 1))
            if not self.table.pictures:
                self._load()
        elif isinstance(entry.event, PictureRestored):
            self._load(stay=True)
        # a new picture joins the list at once only while its head is in sight: rows never move under the cursor
        if isinstance(entry.event, Image):
            self._is_behind = self.table.cursor_row > 0
            if not self._is_behind:
                self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        line = self.query_one(FilterLine)
        line.focus()
        self.say(line.hint())

    @on(Input.Submitted, "#filter")
    def _filter(self, event: Input.Submitted) -> None:
        self._query = event.value.strip()
        self._load()
        self._leave_filter()

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.unsay(self.query_one(FilterLine).hint())
        (self.wall if self.wall.display else self.table).focus()

    def action_thumbnails(self) -> None:
        hidden, shown = (self.wall, self.table) if self.wall.display else (self.table, self.wall)
        shown.display = True
        self.set_focus(shown)  # at once: the next key is for it
        hidden.display = False
        self.set_class(self.wall.display, "-wall")
        self.wall.choose(self.table.cursor_row)

    @on(Tiles.Chosen)
    def _chosen(self) -> None:
        self.table.move_cursor(row=self.wall.at)

    def action_large(self) -> None:
        if self.table.chosen():
            self.query_one(ChosenPicture).toggle_alone()

    def marked(self) -> None:
        super().marked()
        self.wall.refresh_marks()
        self.table.refresh_marks()

    def action_sort(self) -> None:
        names = {column.id: column for column in self.table.wanted()}
        now = self.table.order.removeprefix("-")
        following = [*names][[*names].index(now) + 1 :] if now in names else []
        column = names[next(iter(following), next(iter(names)))]
        self._sort(f"-{column.id}" if column.falls else column.id)

    def action_sort_back(self) -> None:
        order = self.table.order
        self._sort(order.removeprefix("-") if order.startswith("-") else f"-{order}")

    def _sort(self, order: str) -> None:
        title = columns()[order.removeprefix("-")].title
        self.say(tr("Sorted by {column}", column=f"{title} {'↓' if order.startswith('-') else '↑'}"))
        self.table.order = order
        self.table.move_cursor(row=0)
        self._load()

    def action_fold(self) -> None:
        line = self.table.line()
        if line is None or line.picture.job is None:
            return
        alone = sum(picture.job == line.picture.job for picture in self.table.pictures) < 2
        if alone:
            self.say(tr("This image is the only one of its job."))
            return
        self.table.turned ^= {line.picture.job}
        self.table.refold()

    def action_fold_all(self) -> None:
        self.table.folds = not self.table.folds
        self.table.turned.clear()
        self.table.refold()

    def action_choose_columns(self) -> None:
        from sdterm.tui.screens.columns import Columns

        def chosen(names: tuple[str, ...] | None) -> None:
            if names is None:
                return
            if trouble := self.shell.write_setting("gallery_columns", ",".join(names) or None):
                self.say(trouble)
            self.table.refit()

        titles = {name: column.title for name, column in columns().items()}
        self.app.push_screen(Columns(titles, [column.id for column in self.table.wanted()]), chosen)


def _label(line: Line, width: int) -> str:
    """What the wall says of a line."""
    picture = line.picture
    if line.is_folded:
        return f" {picture.id} ({len(line.pictures)})"
    number, seed = f" {picture.id}{' !' if picture.missing else ''} ", seed_of(picture)
    left = max(2, width - len(number))
    return number + (seed if len(seed) <= left else "…" + seed[1 - left :])  # the end tells variations apart

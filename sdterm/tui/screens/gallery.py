"""Gallery: every saved picture, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from sdterm.core.infotext.grammar import parse, write
from sdterm.core.text import printable
from sdterm.tui import calls
from sdterm.tui.actions import bindings
from sdterm.tui.language import tr
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.screens.room import Room
from sdterm.tui.widgets.recent import PictureActions
from sdterm.tui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from sdterm.api import Entry, Picture

_PAGE = 100
_NEAR = 20  # rows before the last one at which the next page is fetched


class PictureTable(PictureActions, DataTable[Text]):
    """Pictures, one a row."""

    scopes = ("pictures", "gallery")
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("pictures"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g", "scroll_top", show=False),
        Binding("G", "scroll_bottom", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", show_row_labels=False, zebra_stripes=False)
        self.pictures: list[Picture] = []

    def chosen(self) -> Picture | None:
        return self.pictures[self.cursor_row] if 0 <= self.cursor_row < len(self.pictures) else None

    def on_mount(self) -> None:
        for title, width in ((tr("No."), 6), (tr("Time"), 5), (tr("Size"), 9), (tr("Prompt"), 200)):
            self.add_column(title, width=width)

    def add(self, pictures: Iterable[Picture]) -> None:
        """More rows."""
        for picture in pictures:
            self.pictures.append(picture)
            self.add_row(*map(_cell, _row(picture)))

    def remove_picture(self, picture: int) -> None:
        """A row less, if there is that one; the cursor stays where it is."""
        for at, shown in enumerate(self.pictures):
            if shown.id == picture:
                del self.pictures[at]
                self.remove_row(self.ordered_rows[at].key)
                break


class GalleryScreen(Room):
    """The table, a picture, its parameters."""

    room = "go_gallery"
    scopes = ("gallery",)
    AUTO_FOCUS = "PictureTable"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("gallery")]

    def __init__(self) -> None:
        super().__init__()
        self._query = ""
        self._next: str | None = None
        self._fetching = False

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="desk"):
            with Vertical():
                line = Input(
                    placeholder=tr("filter: words, sampler:euler, steps>=20, seed:7"), compact=True, id="filter"
                )
                line.cursor_blink = False
                yield line
                yield PictureTable()
                yield Thumbnails()
            with Vertical(classes="details"):
                yield PictureView(id="picture", mode=self.shell.picture_mode())
                with VerticalScroll(can_focus=False):
                    yield Static(id="infotext", markup=False)

    def on_mount(self) -> None:
        self._load()

    def up(self) -> None:
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        """From the first page on."""
        query = self._query
        page = await self.ask(calls.pictures(query, limit=_PAGE))
        if page is None:
            return
        table = self.query_one(PictureTable)
        table.clear()
        table.pictures.clear()
        table.add(page.pictures)
        self._next = page.next
        table.border_title = tr("Gallery  {number} picture(s)", number=page.total or 0)
        if not page.pictures:
            empty = tr("No match: {key}, then clear the filter.", key=self.shell.key("filter"))
            none = tr("Nothing drawn yet: {key} goes to the prompt.", key=self.shell.key("go_generate"))
            self.say(empty if query else none)
            self.query_one(PictureView).show(None)
            self.query_one("#infotext", Static).update("")
        self.query_one(Thumbnails).show(table.pictures, 0)

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        table = self.query_one(PictureTable)
        if picture := table.chosen():
            self._show(picture)
            self.query_one(Thumbnails).show(table.pictures, table.cursor_row)
        if self._next and table.cursor_row >= len(table.pictures) - _NEAR:
            self._more()

    @on(DataTable.RowSelected)
    def _selected(self, event: DataTable.RowSelected) -> None:
        self.query_one(PictureTable).action_load()

    @work(group="more")
    async def _more(self) -> None:
        if self._fetching or not self._next:
            return
        self._fetching = True
        try:
            cursor, query = self._next, self._query
            page = await self.ask(calls.pictures(query, limit=_PAGE, cursor=cursor))
            if page is not None and query == self._query:
                self._next = page.next
                self.query_one(PictureTable).add(page.pictures)
        finally:
            self._fetching = False

    @work(group="show", exclusive=True)
    async def _show(self, picture: Picture) -> None:
        details = self.query_one("#infotext", Static)
        view = self.query_one(PictureView)
        said = parse(picture.infotext)
        shown = {key: value for key, value in said.parameters.items() if key != "sdterm"}  # which programs alone read
        told = write(said.prompt, said.negative_prompt, shown)
        lines = [printable(line, 2000) for line in told.splitlines()]
        where = printable(picture.path)
        if picture.missing:
            lines.insert(0, tr("! the file is gone: {path}", path=where))
        else:
            lines.append(where)
        details.update(Text("\n".join(lines)))
        if picture.missing or not view.region.width:
            view.show(None, caption=str(picture.id))
            return
        data = await self.ask(calls.thumbnail(picture.id, 256))
        if data:
            view.show(data, caption=str(picture.id))

    def happened(self, entry: Entry) -> None:
        from sdterm.events import Image, PictureDeleted, PictureRestored

        if isinstance(entry.event, PictureDeleted):
            self.query_one(PictureTable).remove_picture(entry.event.picture)
        elif isinstance(entry.event, PictureRestored):
            self._load()
        # a new picture joins the list only while its head is in sight: rows never move under the cursor
        if isinstance(entry.event, Image) and self.query_one(PictureTable).cursor_row == 0:
            self._load()

    # --- keys --------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    @on(Input.Submitted, "#filter")
    def _filter(self, event: Input.Submitted) -> None:
        self._query = event.value.strip()
        self._load()
        self.query_one(PictureTable).focus()

    def action_thumbnails(self) -> None:
        thumbnails = self.query_one(Thumbnails)
        thumbnails.display = not thumbnails.display
        table = self.query_one(PictureTable)
        thumbnails.show(table.pictures, table.cursor_row)


def _row(picture: Picture) -> tuple[str, ...]:
    prompt = parse(picture.infotext).prompt
    saved = datetime.fromtimestamp(picture.saved)
    mark = ("! " if picture.missing else "") + ("" if picture.number >= 0 else tr("(grid)") + " ")
    return (
        str(picture.id),
        f"{saved:%H:%M}" if saved.date() == datetime.now().date() else f"{saved:%m-%d}",
        f"{picture.width}x{picture.height}",
        mark + printable(prompt.replace("\n", " "), 200),
    )


def _cell(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")

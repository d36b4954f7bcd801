"""What is folded below the form: its parts, and the options that sampler, schedule, format and plugins declare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Label, Static

from sdterm.core.text import printable
from sdterm.tui.fields import Field
from sdterm.tui.gallery_columns import cut
from sdterm.tui.language import tr
from sdterm.tui.picture.support import Protocol
from sdterm.tui.picture.widget import PictureView
from sdterm.tui.shell import HasShell
from sdterm.tui.widgets.parameter import Parameter, parameter

Read = Callable[[Field], str]
"""What stands in a field."""


@dataclass(frozen=True)
class Section:
    """Some fields under a title that folds them away; without a title they are always there."""

    title: str
    fields: tuple[Field, ...]
    is_open: bool = True
    told: str = ""
    """Beside the title: what is chosen, in short."""
    has_picture: bool = False


class SectionTitle(Static, can_focus=True):
    """A part of the form: Enter unfolds it, or folds it again."""

    scopes = ("part",)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "fold", show=False),
        Binding("right,l", "fold(True)", show=False),
        Binding("left,h", "fold(False)", show=False),
        Binding("down,j", "screen.focus_next", show=False),
        Binding("up,k", "screen.focus_previous", show=False),
    ]

    class Toggled(Message):
        """The part is to be open, or not."""

        def __init__(self, title: str, is_open: bool) -> None:
            super().__init__()
            self.title, self.is_open = title, is_open

    def __init__(self, section: Section) -> None:
        super().__init__()
        self.section = section
        self.show(section)

    def show(self, section: Section) -> None:
        """Show what is told of it now."""
        self.section = section
        text = Text(f"{'▾' if section.is_open else '▸'} {tr(section.title)}", style="bold", no_wrap=True)
        self.update(text.append(f"  {printable(section.told, 60)}", style="not bold"))

    def action_fold(self, is_open: bool | None = None) -> None:
        wanted = not self.section.is_open if is_open is None else is_open
        if wanted != self.section.is_open:
            self.post_message(self.Toggled(self.section.title, wanted))


class FieldHelp(Static):
    """What the field is that has the cursor."""

    def __init__(self) -> None:
        super().__init__(id="field-help", markup=False)

    def on_resize(self) -> None:
        if isinstance(self.parent, MoreOptions):
            self.parent.keep_in_sight()


class MoreOptions(HasShell, VerticalScroll, can_focus=False):
    """A line for each part, and for each field of those that are open."""

    def __init__(self) -> None:
        super().__init__(id="more")
        self.border_title = tr("More options")
        self._shape: list[object] = []
        self._help = FieldHelp()
        self._sentence = ""  # about the field that has the cursor
        self._turn = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield self._help

    async def show(self, sections: Sequence[Section], read: Read, mode: Protocol) -> None:
        """Show these, and keep the cursor where it is if that is still there."""
        async with self._turn:
            shape: list[object] = [(s.title, s.fields, s.is_open, s.has_picture) for s in sections]
            if self._shape != shape:
                self._shape = shape
                await self._write(sections, read, mode)
            titles = {section.title: section for section in sections}
            for title in self.query(SectionTitle):
                title.show(titles[title.section.title])

    async def _write(self, sections: Sequence[Section], read: Read, mode: Protocol) -> None:
        here = _place(self.screen.focused) if self.screen.focused in self.walk_children() else None
        # shielded: who is cancelled while they wait for widgets to go would end these widgets' own tasks
        await asyncio.shield(self.remove_children([child for child in self.children if child is not self._help]))
        await self.mount(*(widget for section in sections for widget in _section(section, read, mode)))
        for found in self.query("Parameter, SectionTitle"):
            if here and _place(found) == here:
                self.screen.set_focus(found)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        field = event.widget.field if isinstance(event.widget, Parameter) else None
        self._sentence = printable(tr(field.sentence), 1000) if field else ""
        self._tell()
        self.keep_in_sight()

    def on_resize(self) -> None:
        self._tell()

    def on_mount(self) -> None:
        self.watch(self, "virtual_size", self.keep_in_sight, init=False)

    def keep_in_sight(self) -> None:
        """Scroll to the field that has the cursor, which fields that are new or a longer help have moved."""
        focused = self.screen.focused
        if focused and self in focused.ancestors:
            self.call_after_refresh(focused.scroll_visible, animate=False)

    def _tell(self) -> None:
        """Help, in as few of the last lines as are needed and on from there in the border: the fields have little room
        beside it, but one of them is always in sight. What has no room either is told by a key."""
        width, border = max(5, self.scrollable_content_region.width), max(1, self.size.width - 4)
        lines = [line.plain.rstrip() for line in Text(self._sentence).wrap(self.app.console, width)]
        most = max(0, self.size.height - 1)
        height = next((n for n in range(1, most) if cell_len(" ".join(lines[n:])) <= border), most)
        self._help.styles.height = height
        self._help.display = bool(self._sentence and height)
        self._help.update(Text("\n".join(lines[:height]), no_wrap=True))
        rest = " ".join(lines[height:])
        if cell_len(rest) > border:
            more = " " + tr("({key}: all of it)", key=self.shell.key("go_help"))
            rest = cut(rest, border - cell_len(more)) + more
        self.border_subtitle = Text(rest)


def _place(widget: Widget | None) -> object:
    """What tells a line from all others, also once it was made anew."""
    if isinstance(widget, Parameter):
        return widget.field
    return widget.section.title if isinstance(widget, SectionTitle) else None


def _section(section: Section, read: Read, mode: Protocol) -> Iterator[Widget]:
    if section.title:
        yield SectionTitle(section)
    if not section.is_open:
        return
    lines: list[Widget] = []
    part = ""
    for field in section.fields:
        if field.part != part and (part := field.part):
            lines.append(Static(Text(printable(part, 60), style="bold"), classes="part"))
        lines.append(_line(field, read))
    if section.has_picture:
        yield Horizontal(PictureView(mode=mode, id="source"), Vertical(*lines), classes="pictured")
    else:
        yield from lines


def _line(field: Field, read: Read) -> Horizontal:
    label = f"  {printable(field.label, 30)}" if field.part else tr(field.label)
    shown = parameter(field, read(field))
    shown.styles.width = "1fr"
    return Horizontal(Label(label, markup=False), shown)

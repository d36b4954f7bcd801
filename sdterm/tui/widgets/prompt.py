"""The editor of a prompt: colours for the grammar, weights by key, completion."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.option_list import Option
from textual.widgets.text_area import Selection

from sdterm.core.text import is_obeyed, printable
from sdterm.fields import FIELDS
from sdterm.tui.actions import bindings
from sdterm.tui.fields import Field
from sdterm.tui.language import tr
from sdterm.tui.messages import InfotextPasted
from sdterm.tui.shell import HasShell
from sdterm.tui.widgets.border import SaysBelow
from sdterm.tui.widgets.rows import Options

if TYPE_CHECKING:
    from sdterm.api import Trap
    from sdterm.core.prompt.completion import Tag
    from sdterm.core.prompt.edit import Edited
    from sdterm.core.prompt.highlight import Mark

_NOT_OURS = {
    *("f6", "f7", "ctrl+x,super+x", "ctrl+z,super+z", "ctrl+y,super+y", "ctrl+f", "ctrl+c,super+c"),
    *("home,ctrl+a", "end,ctrl+e", "ctrl+u,super+backspace", "ctrl+k"),
}
"""Keys of Textual's editor that mean something else here, or are bound again below."""

_LARGE = 20_000  # characters from which on the grammar is not coloured: it would be done again at each key

STYLES: dict[str, str] = {
    "bracket": "dim",
    "scheduled": "italic",
    "alternate": "italic",
    "network": "underline",
    "and": "bold reverse",
    "break": "bold reverse",
    "escape": "dim",
}
"""How the grammar looks, in every theme: the kinds differ in more than their colour."""
MORE = ("bold", "bold underline")
LESS = ("dim", "dim italic")
_LINES, _CELLS = 9, 50
"""At most so many lines has the list of what a word may become, and so wide it is, as the stylesheet says, too."""


class PromptEditor(SaysBelow, HasShell, TextArea, inherit_bindings=False):
    """A prompt, or the negative one."""

    scopes = ("prompt",)
    BINDINGS: ClassVar[list[BindingType]] = [
        *(b for b in TextArea.BINDINGS if getattr(b, "key", "") not in _NOT_OURS),
        Binding("home", "cursor_line_start", show=False),  # of the row on the screen, as in a browser
        Binding("end", "cursor_line_end", show=False),
        *bindings("prompt"),
    ]

    class Typed(Message):
        """The text was changed."""

        def __init__(self, editor: PromptEditor) -> None:
            super().__init__()
            self.editor = editor

        @property
        def control(self) -> PromptEditor:
            return self.editor

    class CompletionWanted(Message):
        """Somebody types a word that may be a tag."""

        def __init__(self, editor: PromptEditor, before: str, word: str, asked: bool) -> None:
            super().__init__()
            self.editor, self.before, self.word, self.asked = editor, before, word, asked

    class AnotherWanted(Message):
        """Another network is wanted in the place of the one that the tag there calls."""

        def __init__(self, editor: PromptEditor, start: int, end: int) -> None:
            super().__init__()
            self.editor, self.start, self.end = editor, start, end

    class StyleTaken(Message):
        """A style is wanted instead of the word that is typed: what is left of the text."""

        def __init__(self, editor: PromptEditor, style: str, text: str) -> None:
            super().__init__()
            self.editor, self.style, self.text = editor, style, text

    def __init__(self, text: str, *, id: str, title: str, negative: bool = False) -> None:
        super().__init__(text, id=id, compact=True, highlight_cursor_line=False, soft_wrap=True)
        self.negative = negative
        self.field = Field((FIELDS["negative_prompt" if negative else "prompt"],))
        self.border_title = title
        self.cursor_blink = False  # a blinking cursor costs 435 bytes a second on an idle line
        self.traps: tuple[Trap, ...] = ()
        self._underlined: tuple[Trap, ...] = ()  # as they were shown last
        self._marks: tuple[Mark, ...] | None = None
        self._starts: list[int] = []
        self._completions: Completions | None = None
        self._done = ""

    def done(self) -> str:
        """What the last change was, if it was no typing: one step that is taken back by that name."""
        done, self._done = self._done, ""
        return done

    def _change(self, name: str, new: str, start: int, end: int, *cursor: int) -> None:
        """One step of its own: put a text in the place of another."""
        before = self.text
        self._put(new, start, end, *cursor)
        if self.text != before:
            self._done = name
            self.post_message(self.Typed(self))

    # --- the text as one string --------------------------------------------------------------------------------------

    @property
    def span(self) -> tuple[int, int]:
        """The selection, in characters of the text; both ends are the cursor if nothing is selected."""
        ends = sorted(map(self.document.get_index_from_location, self.selection))  # type: ignore[attr-defined]
        return ends[0], ends[1]

    def show(self, text: str) -> None:
        """Put another text there, the cursor where it differs."""
        old = self.text
        if text == old:
            return
        same = next((i for i, (a, b) in enumerate(zip(old, text, strict=False)) if a != b), min(len(old), len(text)))
        most = min(len(old), len(text)) - same
        tail = next((i for i in range(most) if old[-1 - i] != text[-1 - i]), most)
        self._put(text[same : len(text) - tail], same, len(old) - tail, len(text) - tail)

    def _put(self, new: str, start: int, end: int, *cursor: int) -> None:
        locate = self.document.get_location_from_index  # type: ignore[attr-defined]
        self.replace(new, locate(start), locate(end), maintain_selection_offset=False)
        locations = [locate(index) for index in cursor]
        self.selection = Selection(locations[0], locations[-1])

    def take(self, name: str, edited: Edited) -> None:
        """An edit that came from a function on text: one step of its own."""
        if edited.text != self.text:
            self.show(edited.text)
            self._done = name
            self.post_message(self.Typed(self))
        locate = self.document.get_location_from_index  # type: ignore[attr-defined]
        self.selection = Selection(locate(edited.selection[0]), locate(edited.selection[1]))

    # --- colours -----------------------------------------------------------------------------------------------------

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        if self._marks is None:
            self._marks = self._read_marks()
            ends = accumulate(len(part) + len(self.document.newline) for part in self.document.lines)
            self._starts = [0, *ends]
        start = self._starts[line_index]
        end = start + len(line)
        for mark in self._marks:
            if mark.start < end and mark.end > start:
                line.stylize(_style(mark), max(0, mark.start - start), mark.end - start)
        for trap in self.traps:
            first, last = trap.start, trap.end
            if first < end and max(last, first + 1) > start:
                line.stylize("underline2", max(0, first - start), max(last, first + 1) - start)
        if any(map(is_obeyed, line.plain)):  # what was pasted; no character moves, so that marks and cursor stay right
            harmless = "".join("�" if is_obeyed(c) else c for c in line.plain)
            return Text(harmless, end="", no_wrap=True, spans=line.spans)
        return line

    def _read_marks(self) -> tuple[Mark, ...]:
        text = self.text
        if not text or len(text) > _LARGE:
            return ()
        from sdterm.core.prompt.highlight import highlight

        return highlight(text, negative=self.negative)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._marks = None
        self.traps = ()
        self._line_cache.clear()
        self.post_message(self.Typed(self))
        if self.has_focus:
            self._ask_for_completion(asked=False)

    def show_traps(self, traps: tuple[Trap, ...]) -> None:
        """Underline what does not do what it looks like."""
        self.traps = traps
        if traps != self._underlined:
            self._underlined = traps
            self._line_cache.clear()
            self.refresh()

    # --- what keys do ------------------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        if self._completions and self._completions.act(event.key):
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        from sdterm.tui.pasted import infotext_in, is_like_a_path, no_files_here

        refused = no_files_here(self.shell.settings)
        if refused and is_like_a_path(event.text):
            self.shell.say(refused)
        if (infotext := infotext_in(event.text, reads_files=not refused)) is not None:
            self.post_message(InfotextPasted(infotext))
            return
        start, end = self.span
        text = event.text
        if is_like_a_path(text) and self.text[:start].strip() and not self.text[start - 1].isspace():
            text = f" {text}"
        self._change(tr("paste"), text, start, end, start + len(text))

    def action_emphasis_up(self) -> None:
        self._edit(tr("more weight"), "emphasise", 1)

    def action_emphasis_down(self) -> None:
        self._edit(tr("less weight"), "emphasise", -1)

    def action_phrase_left(self) -> None:
        self._edit(tr("move a phrase"), "move_phrase", -1)

    def action_phrase_right(self) -> None:
        self._edit(tr("move a phrase"), "move_phrase", 1)

    def _edit(self, name: str, how: Literal["emphasise", "move_phrase"], direction: int) -> None:
        from sdterm.core.prompt import edit

        self.take(name, getattr(edit, how)(self.text, *self.span, direction))

    def action_line_start(self) -> None:
        """To the start of the line as it was written, however it is wrapped here."""
        self.move_cursor((self.cursor_location[0], 0))

    def action_line_end(self) -> None:
        row = self.cursor_location[0]
        self.move_cursor((row, len(self.document[row])))

    def action_delete_to_line_start(self) -> None:
        cursor = self.span[1]
        start = self.text.rfind("\n", 0, cursor) + 1
        self._change(tr("delete"), "", start, cursor, start)

    def action_delete_to_line_end(self) -> None:
        """At the end of a line: join it with the next one."""
        text, cursor = self.text, self.span[1]
        end = text.find("\n", cursor) if "\n" in text[cursor:] else len(text)
        self._change(tr("delete"), "", cursor, max(end, min(cursor + 1, len(text))), cursor)

    def action_fix(self) -> None:
        """Mend the first trap that can be mended by itself, or by another network; go to it otherwise."""
        if not self.traps:
            self.app.notify(tr("Nothing to fix here."))
            return
        trap = next((trap for trap in self.traps if trap.fix is not None or self.is_network(trap)), self.traps[0])
        start, end = trap.start, trap.end
        if self.is_network(trap):
            self.post_message(self.AnotherWanted(self, start, end))
        elif trap.fix is None:
            self._put(self.text[start:end], start, end, start)
        else:
            self._change(tr("fix"), trap.fix, start, end, start + len(trap.fix))

    def is_network(self, trap: Trap) -> bool:
        """Whether it is about a network, in whose place another one may be taken."""
        from sdterm.core.prompt.networks import ROLES, tags

        called = tags(self.text[trap.start : trap.end])
        return trap.fix is None and len(called) == 1 and called[0].kind in ROLES

    def replace_network(self, old: str, name: str) -> None:
        """Call another network where that tag is, as strongly."""
        start = self.text.find(old)
        kind, _, rest = old[1:-1].partition(":")
        if start >= 0:
            new = f"<{':'.join((kind, name, *rest.split(':')[1:]))}>"
            self._change(tr("another network"), new, start, start + len(old), start + len(new))

    # --- completion --------------------------------------------------------------------------------------------------

    def action_complete(self) -> None:
        self._ask_for_completion(asked=True)

    def look_again(self) -> None:
        """What a network that is being called may be has become known: offer that."""
        from sdterm.core.prompt.completion import word_before

        start, end = word_before(self.text, self.span[1])
        if self.has_focus and self.text[start:end].startswith("<"):
            self._ask_for_completion(asked=False)

    def _ask_for_completion(self, *, asked: bool) -> None:
        from sdterm.core.prompt.completion import word_before

        start, end = word_before(self.text, self.span[1])
        self.post_message(self.CompletionWanted(self, self.text[:start], self.text[start:end], asked))

    def offer(self, word: str, tags: Iterable[Tag]) -> None:
        """Show what the word may become, if it is still the one."""
        from sdterm.core.prompt.completion import word_before

        start, end = word_before(self.text, self.span[1])
        tags = list(tags) if self.text[start:end] == word and self.has_focus else []
        if not self._completions and tags:
            self._completions = Completions(self)
            self.screen.mount(self._completions)
        if self._completions:
            self._completions.show(tags, self.cursor_screen_offset + Offset(start - end, 1))

    def complete(self, tag: Tag) -> None:
        """Put a tag in the place of the word that is typed; a style goes to the others of the form."""
        from sdterm.core.prompt.completion import inserted, word_before

        start, end = word_before(self.text, self.span[1])
        if tag.is_style:
            self.post_message(self.StyleTaken(self, tag.name, self.text[:start] + self.text[end:]))
        else:
            self.take(tr("complete"), inserted(self.text, (start, end), tag))
        if self._completions:
            self._completions.display = False

    def on_blur(self) -> None:
        if self._completions:
            self._completions.display = False


class Completions(Options):
    """What a word may become, below it."""

    def __init__(self, editor: PromptEditor) -> None:
        super().__init__(compact=True, markup=False)
        self.can_focus = False
        self._editor = editor
        self._tags: list[Tag] = []
        self._chosen = False

    def show(self, tags: list[Tag], offset: Offset) -> None:
        self._tags, self._chosen = tags, False
        self.display = bool(tags)
        if not tags:
            return
        self.clear_options()
        self.add_options([Option(_row(tag)) for tag in tags])
        self.highlighted = 0
        width, height = self.screen.size
        lines = min(len(tags), _LINES)
        below = offset.y + lines <= height - 1
        self.styles.offset = (
            max(0, min(offset.x, width - _CELLS)),
            offset.y if below else max(0, offset.y - 1 - lines),
        )

    def act(self, key: str) -> bool:
        """Whether the key was for the list. Enter takes a tag only once one was chosen: before, it ends the line."""
        if not (self.display and self._tags):
            return False
        match key:
            case "down" | "up":
                self.highlighted = ((self.highlighted or 0) + (1 if key == "down" else -1)) % len(self._tags)
                self._chosen = True
            case "tab":
                self._editor.complete(self._tags[self.highlighted or 0])
            case "enter" if self._chosen:
                self._editor.complete(self._tags[self.highlighted or 0])
            case "escape":
                self.display = False
            case _:
                return False
        return True


def _row(tag: Tag) -> Text:
    posts = f"{tag.posts / 1e6:.1f}M" if tag.posts >= 1e6 else f"{tag.posts / 1e3:.0f}k" if tag.posts >= 1e3 else ""
    note = tr("style") if tag.is_style else tag.note or posts
    row = Text(printable(tag.name, 200), no_wrap=True)
    row.truncate(_CELLS - 4 - cell_len(note), overflow="ellipsis", pad=True)
    return row.append(f" {note}")


def _style(mark: Mark) -> str:
    match mark.kind:
        case "more":
            return MORE[mark.weight >= 1.3]
        case "less":
            return LESS[mark.weight < 0.7]
    return STYLES.get(mark.kind, "")

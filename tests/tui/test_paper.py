"""What is written to the terminal: all that changed, and no more."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from sdterm.tui.paper import Paper

WIDTH, HEIGHT = 12, 3
CONSOLE = Console(color_system="truecolor", force_terminal=True)
RED = Style.parse("red on blue")


class Terminal:
    """A small one: it knows moves, colours, and characters of one and two cells."""

    def __init__(self) -> None:
        self.rows = [[("?", "")] * WIDTH for _ in range(HEIGHT)]
        self._pen: dict[str, str] = {}

    def write(self, text: str) -> None:
        x = y = 0
        for move, pen, character in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]*)m|([^\x1b])", text):
            if move:
                y, x = (int(number) - 1 for number in move.split(";"))
            elif character:
                width = cell_len(character)
                if not width:
                    at = x - 1 if self.rows[y][x - 1][0] else x - 2
                    self.rows[y][at] = (self.rows[y][at][0] + character, self.rows[y][at][1])
                    continue
                self._put(y, x, character)
                for right in range(x + 1, x + width):
                    self._put(y, right, "")
                x += width
            else:
                self._turn(pen)
        assert not self._pen, "the pen is left as it was"

    def _put(self, y: int, x: int, character: str) -> None:
        row = self.rows[y]
        if character and not row[x][0] and x:  # the right half of what is overwritten
            row[x - 1] = (" ", row[x - 1][1])
        if x + 1 < WIDTH and not row[x + 1][0]:
            row[x + 1] = (" ", row[x + 1][1])
        row[x] = (character, ";".join(self._pen[key] for key in sorted(self._pen)))

    def _turn(self, codes: str) -> None:
        numbers = iter(codes.split(";"))
        for code in numbers:
            if code in ("", "0"):
                self._pen = {}
            elif code in ("38", "48"):
                kind = next(numbers)
                colour = [code, kind, *(next(numbers) for _ in range(3 if kind == "2" else 1))]
                self._pen[code] = ";".join(colour)
            elif code in ("39", "49"):
                self._pen.pop("38" if code == "39" else "48", None)
            elif code[:-1] in ("3", "9", "4", "10"):
                self._pen["38" if code[:-1] in ("3", "9") else "48"] = code
            else:
                self._pen[code] = code


def layout(*lines: Sequence[Segment]) -> LayoutUpdate:
    """A screen with these lines."""
    strips = [[Strip(line).extend_cell_length(WIDTH).crop(0, WIDTH)] for line in lines]
    strips += [[Strip.blank(WIDTH)] for _ in range(HEIGHT - len(strips))]
    return LayoutUpdate(strips, Region(0, 0, WIDTH, HEIGHT))  # type: ignore[arg-type]


def chops(y: int, left: int, line: Sequence[Segment]) -> ChopsUpdate:
    """A part of one line."""
    strip = Strip(line)
    strip = strip.crop(0, WIDTH - left)
    right = left + strip.cell_length
    lines = [{left: strip} if row == y else {} for row in range(HEIGHT)]
    return ChopsUpdate(lines, [(y, left, right)], [[right] for _ in range(HEIGHT)])


def written(paper: Paper, update: CompositorUpdate) -> str:
    return paper.write(update, WIDTH, HEIGHT, CONSOLE)[0]


TEXTS = st.text("ab ─▀é日本語e\u0301", max_size=8).filter(lambda text: not text.startswith("\u0301"))
STYLES = st.sampled_from(
    [None, RED, Style.parse("bold #010203"), Style.parse("reverse on #040506"), Style(color="default", bgcolor="red")]
)
LINES = st.lists(st.builds(Segment, TEXTS, STYLES, st.none()), max_size=4).filter(
    lambda line: not "".join(segment.text for segment in line).startswith("\u0301")
)
UPDATES = st.lists(
    st.builds(layout, LINES, LINES)
    | st.builds(chops, st.integers(0, HEIGHT - 1), st.integers(0, 8), LINES.filter(any)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(UPDATES)
def test_the_terminal_shows_what_it_would_if_all_were_written(updates: list[CompositorUpdate]) -> None:
    paper, thrifty, lavish = Paper(), Terminal(), Terminal()
    for update in [layout(), *updates]:
        thrifty.write(written(paper, update))
        lavish.write(re.sub(r"\n", "", update.render_segments(CONSOLE)))
        assert thrifty.rows == lavish.rows


def test_what_stands_there_is_not_written_again() -> None:
    paper = Paper()
    screen = [[Segment("a line", RED)], [Segment("another")]]
    assert "a line" in written(paper, layout(*screen))
    assert written(paper, layout(*screen)) == ""
    assert written(paper, chops(0, 0, [Segment("a line", RED)])) == ""
    text, spans = paper.write(layout([Segment("a lime", RED)], screen[1]), WIDTH, HEIGHT, CONSOLE)
    assert spans == [(0, 4, 5)] and re.sub(r"\x1b\[[\d;]*[mH]", "", text) == "m"


@pytest.mark.parametrize("area", [None, Region(0, 0, 3, 1)])
def test_what_was_forgotten_is_written_again(area: Region | None) -> None:
    paper = Paper()
    screen = layout([Segment("a line")])
    written(paper, screen)
    paper.forget(area)
    assert "a l" in written(paper, screen)


def test_another_size_is_another_screen() -> None:
    paper = Paper()
    written(paper, layout([Segment("a line")]))
    assert "a line" in paper.write(layout([Segment("a line")]), WIDTH, HEIGHT + 1, CONSOLE)[0]


def test_a_line_on_whose_width_terminals_disagree_is_written_whole() -> None:
    paper = Paper()
    written(paper, layout([Segment("a ⚠️ b 1")]))
    assert "a ⚠️ b 2" in written(paper, layout([Segment("a ⚠️ b 2")]))


def test_colours_change_only_where_they_differ() -> None:
    line = [Segment(character, Style(color=f"#0102{at:02}", bgcolor="#010203")) for at, character in enumerate("▀▀▀▀")]
    text = written(Paper(), layout(line))
    assert text.count("48;2;1;2;3") == 1 and text.count("38;2;1;2") == 4


@pytest.mark.parametrize(("width", "height"), [(3, HEIGHT), (WIDTH, 1), (1, 1)])
def test_what_was_painted_for_a_larger_terminal_is_cut(width: int, height: int) -> None:
    """The terminal may get smaller while an update is on its way."""
    paper, console = Paper(), Console(force_terminal=True)
    for update in (
        layout([Segment("x" * WIDTH)]),
        chops(0, 4, [Segment("y" * WIDTH)]),
        chops(HEIGHT - 1, 0, [Segment("z")]),
    ):
        paper.write(update, width, height, console)
        assert all(len(row) == width for row in paper._rows) and len(paper._rows) == height


def test_without_colours_none_is_written_and_what_is_light_is_reversed() -> None:
    line = [Segment("a", Style.parse("red on black")), Segment("b", Style.parse("bold black on white")), Segment("c")]
    text = written(Paper(colours=False), layout(line))
    assert re.findall(r"\x1b\[([\d;]*)m", text) == ["0", "0;1;7", "0"], text

"""A picture with a mask over it: what its cells are, and how a change of them has room in few bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from sdterm.tui.paper import Paper
from sdterm.tui.picture.masked import BARE, TINTS, Cell, Rows, cells, changed, cost, refined, segment_of
from sdterm.tui.picture.support import Depth

COLUMNS, ROWS = 24, 8
PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8))
DEPTHS: tuple[Depth, ...] = ("truecolor", "256", "16", "mono")


def mask(*boxes: tuple[int, int, int, int]) -> Image.Image:
    canvas = np.zeros((64, 96), np.uint8)
    for left, top, right, bottom in boxes:
        canvas[top:bottom, left:right] = 255
    return Image.fromarray(canvas)


def rows(*boxes: tuple[int, int, int, int], depth: Depth = "truecolor") -> Rows:
    return cells(PICTURE, mask(*boxes), COLUMNS, ROWS, depth)


boxes = st.tuples(*(st.integers(0, 96) for _ in range(4))).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3], 60), max(b[0], b[2]), max(b[1], b[3]))
)
pictures = st.lists(boxes, max_size=3).map(lambda found: rows(*found))


def test_a_cell_is_covered_above_below_or_both() -> None:
    found = rows((0, 0, 4, 4), (4, 4, 8, 8), (8, 0, 12, 8))
    assert [cell.covered for cell in found[0][:4]] == [1, 2, 3, 0]
    plain = rows()
    assert found[0][0].lower == plain[0][0].lower and found[0][0].upper != plain[0][0].upper
    assert found[1] == plain[1], "what is not covered looks as it did"


@pytest.mark.parametrize("tint", TINTS)
def test_a_covered_cell_looks_like_no_free_one(tint: tuple[int, int, int]) -> None:
    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    (free,), (covered,) = (cells(grey, Image.new("L", (8, 8), value), 1, 1, "truecolor", tint)[0] for value in (0, 255))
    assert sum(abs(a - b) for a, b in zip(free.upper, covered.upper, strict=True)) > 60


def test_without_colours_a_covered_cell_is_a_cross() -> None:
    found = rows((0, 0, 96, 8), depth="mono")
    assert {segment_of(cell, "mono").text for cell in found[0]} == {"x"}
    assert {segment_of(cell, "mono").text for cell in found[2]} <= {*" ░▒▓█"}


@given(pictures, pictures, st.sampled_from((80, 300, 1_000, 100_000)))
def test_a_change_has_room_and_touches_nothing_else(before: Rows, wanted: Rows, limit: int) -> None:
    after = changed(before, before, wanted, limit, "truecolor")
    least = max(cost((old,), (new,), "truecolor") for old, new in zip(before, after, strict=True))
    assert cost(before, after, "truecolor") <= max(limit, least), "one row is always told"
    for shown, was, now in zip(after, before, wanted, strict=True):
        assert all(cell == was[x] for x, cell in enumerate(shown) if was[x] == now[x])
    if limit == 100_000:
        assert after == wanted


@given(pictures, pictures)
def test_by_and_by_it_is_as_it_is_wanted(before: Rows, wanted: Rows) -> None:
    shown, parts = changed(before, before, wanted, 200, "truecolor"), 0
    while shown != wanted:
        after = refined(shown, wanted, 500, "truecolor")
        assert after != shown
        shown, parts = after, parts + 1
    assert parts <= ROWS


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_bytes_are_about_those_that_are_written(depth: Depth) -> None:
    """As the screen writes them, which knows what it has written before."""
    systems = {"truecolor": "truecolor", "256": "256", "16": "standard", "mono": None}
    console = Console(color_system=systems[depth], force_terminal=True, width=COLUMNS, no_color=depth == "mono")  # type: ignore[arg-type]
    before, after = rows(depth=depth), rows((0, 0, 50, 64), depth=depth)
    paper = Paper()
    for each in (before, after):
        strips = [[Strip([segment_of(cell, depth) for cell in row], COLUMNS)] for row in each]
        update = LayoutUpdate(strips, Region(0, 0, COLUMNS, ROWS))  # type: ignore[arg-type] # as the compositor has it
        text, _ = paper.write(update, COLUMNS, ROWS, console)
    assert len(text.encode()) <= 1.15 * cost(before, after, depth) + 20


def test_where_kitty_shows_the_picture_itself_a_cell_costs_no_colours_of_its_own() -> None:
    black = Cell((0, 0, 0), (0, 0, 0))
    bare = cost(((black,) * 20,), ((BARE,) * 20,), "truecolor")
    assert bare < cost(((BARE,) * COLUMNS,), (rows()[0],), "truecolor") / 4

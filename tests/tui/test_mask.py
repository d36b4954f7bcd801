"""The mask as it is drawn: shapes, the whole of it, and taking back."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdterm.tui import mask
from sdterm.tui.mask import EMPTY, FULL, Canvas, History

SIDE = 24
points = st.tuples(st.integers(-4, SIDE + 4), st.integers(-4, SIDE + 4))
boxes = st.tuples(points, points).map(lambda two: _box(*two))
canvases = st.lists(st.tuples(boxes, st.sampled_from((EMPTY, FULL))), max_size=4).map(
    lambda drawn: _drawn(mask.blank(SIDE, SIDE), drawn)
)


def _box(one: mask.Point, other: mask.Point) -> mask.Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _drawn(canvas: Canvas, drawn: list[tuple[mask.Box, int]]) -> Canvas:
    for box, value in drawn:
        canvas = mask.rectangle(canvas, box, value)
    return canvas


def covered(canvas: Canvas) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for y, x in np.argwhere(canvas)}


def test_a_rectangle_covers_its_box_and_nothing_beyond_the_picture() -> None:
    drawn = mask.rectangle(mask.blank(6, 4), (4, 2, 9, 9))
    assert drawn.shape == (4, 6) and drawn.dtype == np.uint8
    assert covered(drawn) == {(4, 2), (5, 2), (4, 3), (5, 3)}
    assert covered(mask.rectangle(drawn, (5, 0, 6, 4), EMPTY)) == {(4, 2), (4, 3)}


def test_an_ellipse_touches_the_sides_of_its_box_and_leaves_its_corners() -> None:
    drawn = mask.ellipse(mask.blank(SIDE, SIDE), (2, 3, 15, 12))
    assert mask._bounds(drawn) == (2, 3, 15, 12)
    assert drawn[7, 8] == FULL and not {(2, 3), (14, 11), (2, 11), (14, 3)} & covered(drawn)
    assert mask.ellipse(drawn, (5, 5, 5, 9)) is drawn, "a box without pixels"


def test_a_brush_is_round_and_leaves_no_gap_between_two_points() -> None:
    dab = covered(mask.brush(mask.blank(SIDE, SIDE), [(10, 10)], 3))
    assert all((x - 10) ** 2 + (y - 10) ** 2 <= 3.5**2 for x, y in dab) and len(dab) > 20
    line = mask.brush(mask.blank(SIDE, SIDE), [(2, 2), (20, 14)], 1)
    assert all(line[round(2 + 12 * t / 18), 2 + t] == FULL for t in range(19))
    assert covered(mask.brush(mask.blank(SIDE, SIDE), [(5, 5)], 0)) == {(5, 5)}


def test_a_lasso_covers_what_it_encloses() -> None:
    triangle = mask.lasso(mask.blank(SIDE, SIDE), [(2, 2), (20, 2), (2, 20)])
    assert triangle[4, 4] == FULL and triangle[18, 18] == EMPTY and triangle[2, 11] == FULL
    assert covered(mask.lasso(mask.blank(SIDE, SIDE), [(1, 1), (3, 1)])) == {(1, 1), (2, 1), (3, 1)}


@given(canvases, st.integers(1, 5))
def test_growing_is_by_distance_and_shrinking_is_growing_of_the_rest(canvas: Canvas, pixels: int) -> None:
    grown, there = mask.grown(canvas, pixels), covered(canvas)
    for x, y in ((3, 3), (11, 20), (23, 0)):
        near = any((x - a) ** 2 + (y - b) ** 2 <= pixels**2 for a, b in there)
        assert (grown[y, x] == FULL) == near
    assert np.array_equal(mask.shrunk(canvas, pixels), mask.inverted(mask.grown(mask.inverted(canvas), pixels)))


def test_a_mask_of_everything_does_not_shrink_from_the_edges() -> None:
    assert mask.share(mask.shrunk(mask.inverted(mask.blank(8, 8)), 3)) == 1
    assert mask.share(mask.grown(mask.blank(8, 8), 3)) == 0


@given(canvases)
def test_inverting_twice_is_nothing_and_a_file_keeps_every_pixel(canvas: Canvas) -> None:
    assert np.array_equal(mask.inverted(mask.inverted(canvas)), canvas)
    assert mask.share(canvas) + mask.share(mask.inverted(canvas)) == pytest.approx(1)
    with Image.open(BytesIO(mask.png(canvas))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (SIDE, SIDE))
        assert np.array_equal(mask.from_image(image, SIDE, SIDE), canvas)


def test_a_mask_of_another_size_is_fitted() -> None:
    half = Image.new("L", (2, 1))
    half.putpixel((1, 0), 255)
    assert covered(mask.from_image(half, 4, 2)) == {(2, 0), (3, 0), (2, 1), (3, 1)}


@given(st.lists(st.tuples(boxes, st.sampled_from((EMPTY, FULL))), min_size=1, max_size=6))
def test_everything_is_taken_back_and_done_again(drawn: list[tuple[mask.Box, int]]) -> None:
    history, seen = History(mask.blank(SIDE, SIDE)), []
    for box, value in drawn:
        before = history.now
        if history.change(mask.rectangle(history.now, box, value)):
            seen.append(before)
        else:
            assert np.array_equal(before, history.now)
    last = history.now
    for before in reversed(seen):
        assert history.back()
        assert np.array_equal(history.now, before)
    assert not history.back() and not history.is_changed
    while history.forth():
        pass
    assert np.array_equal(history.now, last)


def test_a_new_change_forgets_what_was_taken_back() -> None:
    history = History(mask.blank(8, 8))
    history.change(mask.inverted(history.now))
    history.back()
    history.change(mask.rectangle(history.now, (0, 0, 1, 1)))
    assert not history.forth() and covered(history.now) == {(0, 0)}


def test_a_large_mask_costs_little_to_take_back() -> None:
    history = History(mask.blank(2048, 2048))
    for at in range(5):
        history.change(mask.ellipse(history.now, (at * 40, 0, at * 40 + 2000, 2048)))
    assert sum(len(step.turned) for step in history._before) < 5 * 20_000

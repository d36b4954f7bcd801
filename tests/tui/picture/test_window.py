"""A part of a picture on cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.tui.picture.window import Window

sizes = st.tuples(st.integers(16, 900), st.integers(16, 900))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    whole = Window.whole(*draw(sizes), draw(st.integers(4, 120)), draw(st.integers(2, 40)))
    pixel = draw(st.integers(0, whole.width - 1)), draw(st.integers(0, whole.height - 1))
    return whole.nearer(pixel, draw(st.sampled_from((1, 2, 3.7, 16))))


@given(windows(), st.data())
def test_a_pixel_in_sight_is_shown_by_the_dot_that_has_it(window: Window, data: st.DataObject) -> None:
    across, down = window.dots
    dot = data.draw(st.integers(0, across - 1)), data.draw(st.integers(0, down - 1))
    left, top, right, bottom = window.pixels_of(dot)
    assert left < right and top < bottom
    x, y = window.centre_of(dot)
    assert 0 <= x < window.width and 0 <= y < window.height
    if window.step >= 1:
        found = window.dot_at((x, y))
        assert abs(found[0] - dot[0]) <= 1 and abs(found[1] - dot[1]) <= 1


@given(windows())
def test_it_never_leaves_the_picture_and_keeps_its_shape(window: Window) -> None:
    left, top, right, bottom = window.box
    assert 0 <= left < right <= window.width + 1e-6 and 0 <= top < bottom <= window.height + 1e-6
    assert (right - left) / (bottom - top) == pytest.approx(window.width / window.height)


def test_a_region_is_in_it_whole() -> None:
    window = Window.whole(512, 512, 60, 18).around((100, 200, 164, 220))
    left, top, right, bottom = window.box
    assert window.zoom == 8 and left <= 100 and top <= 200 and right >= 164 and bottom >= 220
    assert window.holding((101, 201)) is window
    assert window.holding((500, 500)).box[2:] == (512, 512)

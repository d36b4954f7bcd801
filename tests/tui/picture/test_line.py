"""How fine a picture may be is what the line was seen to carry."""

import pytest

from sdterm.tui.picture.line import LEAST, MOST, Line


@pytest.mark.parametrize(
    ("nbytes", "seconds", "limit"),
    [
        (20_000, 0.005, MOST),
        (20_000, 0.05, 200_000),
        (20_000, 0.5, LEAST),
        (20_000, 5.0, LEAST),
        (20_000, 0.0, MOST),
        (500, 0.1, LEAST),
    ],
)
def test_a_picture_takes_half_a_second(nbytes: int, seconds: float, limit: int) -> None:
    line = Line()
    line.measured(nbytes, seconds)
    assert line.limit == limit


def test_a_line_that_gets_slower_is_believed_and_a_short_text_says_nothing() -> None:
    line = Line()
    line.measured(100_000, 0.1)
    line.measured(900, 0.2)
    assert line.limit == 500_000
    line.measured(100_000, 1.0)
    assert line.limit == 50_000

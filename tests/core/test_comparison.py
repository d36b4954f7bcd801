"""How far two pictures are apart."""

import math

import numpy as np

from sdterm.core.comparison import compare

PICTURE = np.full((8, 16, 3), 100, np.uint8)


def test_a_picture_is_identical_to_itself() -> None:
    difference = compare(PICTURE, PICTURE.copy())
    assert difference.identical and difference.psnr == math.inf
    assert str(difference) == "identical: all 128 pixels are the same"


def test_a_difference_is_measured_per_channel() -> None:
    other = PICTURE.copy()
    other[0, 0], other[3, 4, 1] = (103, 90, 100), 255
    difference = compare(PICTURE, other)
    assert (difference.pixels, difference.differing, difference.largest) == (128, 2, (3, 155, 0))
    mean = (3**2 + 10**2 + 155**2) / (128 * 3)
    assert math.isclose(difference.psnr, 10 * math.log10(255**2 / mean))
    assert "2 of 128 pixels differ, by at most 155/255 (red 3, green 155, blue 0); PSNR 30.1 dB" in str(difference)

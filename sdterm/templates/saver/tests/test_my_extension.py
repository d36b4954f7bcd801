from io import BytesIO
from pathlib import Path

from PIL import Image

from sdterm.testing import assert_saver_round_trip, load_extension


def test_the_picture_comes_back() -> None:
    saver = load_extension(Path(__file__).parents[1]).saver("my_extension")
    assert_saver_round_trip(saver, decode=lambda data: Image.open(BytesIO(data)))


def test_the_infotext_comes_back() -> None:
    import numpy as np

    saver = load_extension(Path(__file__).parents[1]).saver("my_extension")
    data = saver.encode(np.zeros((8, 8, 3), dtype=np.uint8), "a lake\nSteps: 20")
    assert Image.open(BytesIO(data)).getexif()[270] == "a lake\nSteps: 20"

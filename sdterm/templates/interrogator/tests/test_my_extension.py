from pathlib import Path

import numpy as np
import torch

from sdterm.hooks import Interrogator
from sdterm.testing import load_extension


def test_it_says_how_light_a_picture_is() -> None:
    plugins = load_extension(Path(__file__).parents[1])
    (mine,) = [each for each in plugins.all(Interrogator) if each.id == "my_extension"]
    for grey, said in ((250, "a light picture"), (5, "a dark picture")):
        image = np.full((8, 8, 3), grey, np.uint8)
        assert mine.describe(image, None, torch.device("cpu")) == said

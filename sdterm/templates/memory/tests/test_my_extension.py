from pathlib import Path
from types import SimpleNamespace

import torch

from sdterm.testing import load_extension


def test_what_it_does_is_undone() -> None:
    optimizer = load_extension(Path(__file__).parents[1]).optimizer("my_extension")
    unet = torch.nn.Conv2d(4, 8, 3)
    components = SimpleNamespace(modules={"unet": unet})
    x = torch.ones(1, 4, 8, 8)
    before = unet(x)
    optimizer.apply(components)
    assert torch.allclose(unet(x), before, atol=1e-5)
    assert optimizer.undo
    optimizer.undo(components)
    assert torch.equal(unet(x), before)

from pathlib import Path

import torch
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest
from sdterm.core.library.checkpoints import Library
from sdterm.events import Image
from sdterm.testing import load_extension


def test_it_changes_the_picture_and_leaves_no_trace(tmp_path: Path) -> None:
    plugins = load_extension(Path(__file__).parents[1])
    folder = tmp_path / "models" / "Lora"
    folder.mkdir(parents=True)
    save_file({"my_extension.unet.conv_in": torch.tensor(0.5)}, folder / "mine.safetensors")
    engine = Engine(library=Library(tmp_path), device="cpu")

    def draw(prompt: str) -> str:
        request = GenerationRequest(prompt=prompt, seed=1, steps=2, width=64, height=64)
        (image,) = [event for event in engine.run(request, plugins) if isinstance(event, Image)]
        return image.pixel_hash

    without = draw("a lake")
    assert draw("a lake <lora:mine:1>") != without
    assert draw("a lake") == draw("a lake <lora:mine:0>") == without

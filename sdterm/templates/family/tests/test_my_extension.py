from pathlib import Path

import torch
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest
from sdterm.core.library.checkpoints import Library
from sdterm.events import Done
from sdterm.testing import load_extension


def test_its_checkpoint_is_drawn_with(tmp_path: Path) -> None:
    plugins = load_extension(Path(__file__).parents[1])
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    save_file({"my_extension.colour": torch.tensor([1.0, -1.0, -1.0])}, folder / "red.safetensors")
    request = GenerationRequest(prompt="a wall", model="red", steps=4)
    *_, last = Engine(library=Library(tmp_path), device="cpu").run(request, plugins)
    assert isinstance(last, Done), last

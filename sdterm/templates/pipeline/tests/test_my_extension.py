from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest
from sdterm.core.library.checkpoints import Library
from sdterm.events import Image as Drawn
from sdterm.testing import load_extension


def test_its_checkpoint_is_drawn_with(tmp_path: Path) -> None:
    plugins = load_extension(Path(__file__).parents[1])
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    save_file({"my_extension.colour": torch.tensor([1.0, -1.0, -1.0])}, folder / "red.safetensors")
    request = GenerationRequest(prompt="a wall", model="red", steps=4)
    events = [*Engine(library=Library(tmp_path), device="cpu").run(request, plugins)]
    (image,) = [event for event in events if isinstance(event, Drawn)]
    assert Image.open(BytesIO(image.data)).getpixel((5, 5)) == (255, 0, 0)

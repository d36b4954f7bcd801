from pathlib import Path

from sdterm import Engine, GenerationRequest
from sdterm.core.library.checkpoints import Library
from sdterm.events import Image, Warning
from sdterm.testing import load_extension


def test_a_picture_has_its_key(tmp_path: Path) -> None:
    plugins = load_extension(Path(__file__).parents[1])
    request = GenerationRequest(prompt="red circle", model="sdterm-demo", width=64, height=64, steps=2)
    events = list(Engine(library=Library(tmp_path), device="cpu").run(request, plugins))
    assert not [event for event in events if isinstance(event, Warning)]
    (image,) = [event for event in events if isinstance(event, Image)]
    assert "Megapixels: 0.00" in image.infotext

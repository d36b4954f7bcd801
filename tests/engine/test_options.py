"""An option that is an image: a request has its digest, the plugin's function its pixels."""

from io import BytesIO
from pathlib import Path
from textwrap import dedent

import numpy as np
from PIL import Image

from sdterm import Engine
from sdterm.core.extensions.registry import load_plugins
from sdterm.core.infotext.files import read_pixels
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.choices import choose_parts
from sdterm.core.planning.named_inputs import named_inputs
from sdterm.events import Event, Failed
from sdterm.events import Image as Drawn
from sdterm.request import GenerationRequest

STAMPS = """
    import numpy
    from sdterm.hooks import *

    def stamp(image, rng, picture, at):
        if picture is not None:
            assert picture.dtype == numpy.uint8 and not picture.flags.writeable
            image[at : at + picture.shape[0], : picture.shape[1]] = picture[..., :3]
        return image

    @hookimpl
    def sdterm_postprocessors():
        options = (Option("picture", "", is_image=True), Option("at", 0, minimum=0, maximum=32))
        return [Postprocessor("stamp", "Stamp", stamp, options=options)]
"""


def test_an_option_that_is_an_image_comes_as_pixels(tmp_path: Path) -> None:
    (tmp_path / "stamps.py").write_text(dedent(STAMPS))
    plugins, engine = load_plugins(tmp_path), Engine(library=Library(tmp_path), device="cpu")
    file = BytesIO()
    picture = Image.fromarray(np.random.default_rng(5).integers(0, 255, (8, 16, 4), np.uint8))
    picture.save(file, "PNG")
    digest = Inputs(tmp_path).put(file.getvalue())

    def run(**options: object) -> Event:
        request = GenerationRequest.model_validate(
            {"prompt": "lake", "seed": 7, "steps": 1, "width": 64, "height": 64, "options": options}
        )
        *_, event = (event for event in engine.run(request, plugins) if isinstance(event, Drawn | Failed))
        return event

    drawn, without = run(**{"stamp.picture": digest, "stamp.at": 3}), run(**{"stamp.at": 3})
    assert isinstance(drawn, Drawn) and isinstance(without, Drawn), (drawn, without)
    expected = read_pixels(without.data).copy()
    expected[3:11, :16] = np.asarray(picture)[..., :3]
    assert np.array_equal(read_pixels(drawn.data), expected)

    reading = read(parse(drawn.infotext), plugins)
    assert reading.fields["options"] == {"stamp.picture": digest, "stamp.at": 3}
    request = GenerationRequest(prompt="lake", options=reading.fields["options"], mask="b" * 64)
    named = named_inputs(request, choose_parts(request, plugins))
    assert named == {digest: "options", "b" * 64: "mask"}

    for wrong, said in (
        ("pose.png", "Stamp: the option picture is 'pose.png', but it must be the SHA-256 of an uploaded image."),
        ("a" * 64, "Input aaaaaaaaaaaa no longer exists."),
    ):
        failed = run(**{"stamp.picture": wrong})
        assert isinstance(failed, Failed) and said in failed.message

"""A job that makes pictures larger and draws nothing; and pictures that are made larger once they are drawn."""

import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.infotext.files import read_infotext
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.engine.run import Resume
from sdterm.events import Cancelled, Done, Event, Failed, Image, ModelLoading, Started, Step, SteppedDown
from sdterm.hooks import LoadedUpscaler, Upscaler
from tests import network_files

PLUGINS = load_plugins()
SAID = "a lake\nNegative prompt: rain\nSteps: 3, Sampler: Euler, CFG scale: 7.0, Seed: 12, Size: 64x64"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    network_files.write_upscalers(root)
    return root


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


def picture(width: int = 32, height: int = 24, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=np.uint8)


def given(root: Path, pixels: np.ndarray, text: str = "", kind: str = "PNG") -> str:
    """A picture as an input: its digest."""
    buffer, info = BytesIO(), PngInfo()
    if text:
        info.add_text("parameters", text)
    Picture.fromarray(pixels).save(buffer, kind, **{"pnginfo": info} if kind == "PNG" else {"quality": 100})
    return Inputs(root).put(buffer.getvalue())


def run(engine: Engine, *digests: str, plugins: PluginSet = PLUGINS, **fields: Any) -> list[Event]:
    asked = {"prompt": "", "upscaler": "Lanczos", "upscale_by": 2.0, "upscale_images": digests} | fields
    return list(engine.run(GenerationRequest.model_validate(asked), plugins))


def images(events: list[Event]) -> list[Image]:
    assert isinstance(events[-1], Done), events[-1]
    return [event for event in events if isinstance(event, Image)]


def opened(image: Image) -> Picture.Image:
    return Picture.open(BytesIO(image.data))


def test_pictures_become_larger_and_nothing_is_drawn(engine: Engine, root: Path) -> None:
    events = run(engine, given(root, picture(), SAID), given(root, picture(40, 40)))
    first, second = images(events)
    assert [type(event).__name__ for event in events] == ["Started", "Image", "Image", "Done"]
    (started,) = [event for event in events if isinstance(event, Started)]
    assert (started.width, started.height, started.images, started.model) == (64, 48, 2, "Lanczos")
    wanted = Picture.fromarray(picture()).resize((64, 48), Picture.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(opened(first)), np.asarray(wanted))
    assert (first.seed, first.prompt, first.index) == (12, "a lake", 0)
    assert opened(second).size == (80, 80) and (second.seed, second.index) == (0, 1)
    assert not [event for event in events if isinstance(event, ModelLoading)]


def test_a_png_says_what_it_said_and_beside_it_how_it_became_larger(engine: Engine, root: Path, tmp_path: Path) -> None:
    (image,) = images(run(engine, given(root, picture(), SAID), second_upscaler="nearest"))
    line = "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos, Postprocess upscaler 2: Nearest"
    assert opened(image).info == {"parameters": SAID, "postprocessing": line}
    (tmp_path / "larger.png").write_bytes(image.data)
    assert read_infotext(tmp_path / "larger.png") == image.infotext == f"{SAID}, {line}"


def test_a_picture_without_an_infotext_says_only_how_it_became_larger(
    engine: Engine, root: Path, tmp_path: Path
) -> None:
    (image,) = images(run(engine, given(root, picture())))
    assert opened(image).info == {"postprocessing": image.infotext}
    (tmp_path / "larger.png").write_bytes(image.data)
    assert read_infotext(tmp_path / "larger.png") is None, "that is nothing to draw from"


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_other_formats_say_all_in_one_infotext(kind: str, engine: Engine, root: Path, tmp_path: Path) -> None:
    (image,) = images(run(engine, given(root, picture(), SAID), format=kind))
    path = tmp_path / f"larger{image.suffix}"
    path.write_bytes(image.data)
    assert image.infotext == f"{SAID}, Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos"
    assert read_infotext(path) == image.infotext


def test_what_it_says_is_read_as_the_job_that_draws_and_enlarges_it(engine: Engine, root: Path) -> None:
    size: dict[str, Any] = {"upscale_width": 50, "upscale_height": 40, "upscale_crop": True}
    (image,) = images(run(engine, given(root, picture(), SAID), upscaler="RRDB-x2", **size))
    reading = read(parse(image.infotext), PLUGINS)
    assert reading.not_reproduced == ()
    wanted = {"prompt": "a lake", "seed": 12, "upscaler": "rrdb-x2", "second_upscaler": "None"} | size
    assert {name: reading.fields[name] for name in wanted} == wanted


@pytest.mark.parametrize("upscaler", ["Lanczos", "Nearest", "rrdb-x2"])
def test_transparency_stays(upscaler: str, engine: Engine, root: Path) -> None:
    pixels = picture(channels=4)
    pixels[:12, :, 3], pixels[12:, :, 3] = 0, 255
    (image,) = images(run(engine, given(root, pixels), upscaler=upscaler))
    larger = np.asarray(opened(image))
    assert larger.shape == (48, 64, 4)
    assert (larger[:16, :, 3] < 40).all() and (larger[32:, :, 3] > 215).all()
    (flat,) = images(run(engine, given(root, pixels), upscaler=upscaler, format="jpeg"))
    assert opened(flat).mode == "RGB"


def test_cutting_leaves_black_where_a_size_in_eights_does_not_reach(engine: Engine, root: Path) -> None:
    """Golden: 96x160 to 150x100."""
    white = np.full((160, 96, 3), 255, np.uint8)
    size: dict[str, Any] = {"upscale_width": 150, "upscale_height": 100}
    (cut,) = images(run(engine, given(root, white), upscale_crop=True, **size))
    assert opened(cut).size == (150, 100)
    assert np.flatnonzero(np.asarray(opened(cut))[50, :, 0] == 0).tolist() == [0, 1, 2, 147, 148, 149]
    (whole,) = images(run(engine, given(root, white), **size))
    assert opened(whole).size == (144, 248)


def test_the_upscaler_none_leaves_pictures_as_they_are(engine: Engine, root: Path) -> None:
    (image,) = images(run(engine, given(root, picture(), SAID), upscaler="None"))
    assert np.array_equal(np.asarray(opened(image)), picture())
    assert opened(image).info == {"parameters": SAID} and image.infotext == SAID


def test_a_network_tells_its_tiles_as_steps(engine: Engine, root: Path) -> None:
    events = run(engine, given(root, picture(40, 40)), upscaler="rrdb-x2", second_upscaler="rrdb-x4", upscale_tile=24)
    steps = [(event.step, event.steps) for event in events if isinstance(event, Step)]
    assert steps == [(number, 8) for number in range(1, 9)]


def test_a_picture_that_takes_several_passes_counts_them_all(engine: Engine, root: Path) -> None:
    events = run(engine, given(root, picture(16, 16)), upscaler="rrdb-x2", upscale_by=8.0, upscale_tile=16)
    steps = [(event.step, event.steps) for event in events if isinstance(event, Step)]
    assert steps == [(number, len(steps)) for number in range(1, len(steps) + 1)] and len(steps) > 3


def test_cancelling_stops_at_the_next_tile_and_what_is_left_is_made_later(engine: Engine, root: Path) -> None:
    cancel, tiles = threading.Event(), list[int]()

    def doubled(pixels: torch.Tensor) -> torch.Tensor:
        tiles.append(1)
        if len(tiles) == 3:  # one is the first picture
            cancel.set()
        return torch.nn.functional.interpolate(pixels, scale_factor=2)

    ours = Upscaler("ours", "Ours", matches=lambda reader: True, build=lambda *_: LoadedUpscaler(2, doubled))
    plugins = replace(PLUGINS, given=(ours, *PLUGINS.given), owners={**PLUGINS.owners, id(ours): "ours"})
    digests = given(root, picture(20, 20)), given(root, picture(40, 40))
    request = GenerationRequest(prompt="", upscaler="rrdb-x2", upscale_by=2.0, upscale_images=digests, upscale_tile=24)
    seen = [*engine.run(request, plugins, cancel=cancel)]
    assert isinstance(seen[-1], Cancelled) and seen[-1].images == 1 and len(tiles) == 3
    (started,) = [event for event in seen if isinstance(event, Started)]
    resume = Resume(Plan.model_validate_json(started.data), {0: Path("there.png")})
    again = list(engine.run(request, plugins, resume=resume))
    (rest,) = images(again)
    whole = images(run(engine, *digests, plugins=plugins, upscaler="rrdb-x2", upscale_tile=24))
    assert rest.index == 1 and rest.data == whole[1].data


def test_a_job_that_goes_on_keeps_the_network_that_it_was_begun_with(tmp_path: Path) -> None:
    network_files.write_upscalers(tmp_path)
    engine, folder = Engine(library=Library(tmp_path), device="cpu"), tmp_path / "models" / "ESRGAN"
    digest = given(tmp_path, picture())
    events = run(engine, digest, upscaler="rrdb-x2")
    (started,) = [event for event in events if isinstance(event, Started)]
    resume = Resume(Plan.model_validate_json(started.data))
    (folder / "rrdb-x2.pth").rename(folder / "elsewhere.pth")
    (folder / "rrdb-x4.pth").rename(folder / "rrdb-x2.pth")
    request = resume.plan.request
    (same,) = images(list(engine.run(request, PLUGINS, resume=resume)))
    assert same.data == images(events)[0].data
    (folder / "elsewhere.pth").unlink()
    *_, failed = engine.run(request, PLUGINS, resume=resume)
    assert isinstance(failed, Failed) and "rrdb-x2" in failed.message and "is missing" in failed.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"upscaler": "Lanzos"}, "no upscaler named 'Lanzos'. Did you mean 'Lanczos'?"),
        ({"second_upscaler": "nobody"}, "no upscaler named 'nobody'"),
        ({"upscale_by": 60.0, "upscaler": "rrdb-x4"}, "the limit is 268,435,456"),
        ({"upscale_width": 32768, "upscale_height": 32768}, "the limit is 268,435,456"),
        ({"upscale_images": ("0" * 64,)}, "no longer exists"),
        ({"upscale_images": ("../etc/passwd",)}, "is not a SHA-256"),
        ({"format": "bmpp"}, "no output format named 'bmpp'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    fields: dict[str, Any], said: str, engine: Engine, root: Path
) -> None:
    *_, failed = run(engine, given(root, picture(800, 600)), **fields)
    assert isinstance(failed, Failed) and said in failed.message, failed


@pytest.mark.heavy
def test_a_picture_that_is_drawn_may_be_made_larger_too(engine: Engine, root: Path) -> None:
    fields: dict[str, Any] = {
        "prompt": "a lake",
        "steps": 2,
        "width": 64,
        "height": 64,
        "seed": 5,
        "upscale_images": (),
    }
    (plain,) = images(run(engine, **fields, upscaler="None"))
    (larger,) = images(run(engine, **fields, upscaler="rrdb-x2"))
    (alone,) = images(run(engine, given(root, np.asarray(opened(plain))), upscaler="rrdb-x2"))
    assert (larger.width, larger.height, larger.pixel_hash) == (128, 128, alone.pixel_hash)
    assert "Size: 64x64" in larger.infotext
    assert "Postprocess upscale by: 2.0, Postprocess upscaler: rrdb-x2, " in larger.infotext
    again = read(parse(larger.infotext), PLUGINS)
    (same,) = images(list(engine.run(GenerationRequest.model_validate(again.fields), PLUGINS)))
    assert same.pixel_hash == larger.pixel_hash and again.not_reproduced == ()
    assert "Postprocess" not in plain.infotext


def test_postprocessors_come_after_upscaling(engine: Engine, root: Path, tmp_path: Path) -> None:
    (tmp_path / "grey.py").write_text(
        "from sdterm.hooks import *\n"
        "def apply(image, rng, visibility):\n"
        "    assert image.shape == (48, 64, 3)\n"
        "    return image // 2\n"
        "@hookimpl\n"
        "def sdterm_postprocessors():\n"
        "    return [Postprocessor('gfpgan', 'GFPGAN', apply, options=(Option('visibility', 1.0),))]\n"
    )
    options: dict[str, Any] = {"postprocess": ("GFPGAN",), "options": {"gfpgan.visibility": 0.5}}
    events = run(engine, given(root, picture()), plugins=load_plugins(tmp_path), **options)
    (image,), (plain,) = images(events), images(run(engine, given(root, picture())))
    assert np.array_equal(np.asarray(opened(image)), np.asarray(opened(plain)) // 2)
    assert image.infotext.endswith("Postprocess upscaler: Lanczos, Postprocess: GFPGAN, GFPGAN visibility: 0.5")


def test_a_saver_that_fails_costs_no_picture(engine: Engine, root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from sdterm.hooks import *\n"
        "def encode(image, infotext):\n    raise OSError('no')\n"
        "@hookimpl\ndef sdterm_output_savers():\n    return [OutputSaver('bad', 'Bad', '.bad', encode)]\n"
    )
    events = run(engine, given(root, picture(), SAID), plugins=load_plugins(tmp_path), format="bad")
    (image,) = images(events)
    assert image.suffix == ".png" and opened(image).info["parameters"] == SAID
    assert [event.code for event in events if event.event == "warning"] == ["saver_failed"]  # type: ignore[attr-defined]


def test_letting_go_of_models_lets_go_of_the_upscaler(root: Path) -> None:
    engine = Engine(library=Library(root), device="cpu")
    images(run(engine, given(root, picture()), upscaler="rrdb-x2"))
    assert engine._upscaler.loaded
    engine.unload()
    assert not engine._upscaler.loaded
    assert len(images(run(engine, given(root, picture()), upscaler="rrdb-x2"))) == 1


def test_the_same_request_makes_the_same_picture(engine: Engine, root: Path) -> None:
    digest = given(root, picture(100, 80), SAID, "JPEG")
    one, two = (images(run(engine, digest, upscaler="rrdb-x4", upscale_tile=32))[0] for _ in range(2))
    assert one == two


CROWDED = """
    import torch
    from PIL import Image
    import numpy as np
    from sdterm.hooks import Upscaler, hookimpl

    tries = []

    def resize(image, scale):
        tries.append(scale)
        if len(tries) % 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return np.repeat(np.repeat(image, int(scale), 0), int(scale), 1)

    @hookimpl
    def sdterm_upscalers():
        return [Upscaler("crowded", "Crowded", resize=resize)]
"""


def test_the_model_for_drawing_makes_room_for_an_upscaler(root: Path, tmp_path: Path) -> None:
    (tmp_path / "crowded.py").write_text(dedent(CROWDED))
    plugins, digest = load_plugins(tmp_path), given(root, picture(16, 16))
    engine = Engine(library=Library(root), device="cpu")
    small = GenerationRequest(prompt="x", steps=1, width=64, height=64, cfg_scale=1.0, model="sdterm-demo")
    assert isinstance([*engine.run(small, plugins)][-1], Done) and engine.model
    events = run(engine, digest, plugins=plugins, upscaler="Crowded")
    assert len(images(events)) == 1 and not engine.model
    assert [event.rung for event in events if isinstance(event, SteppedDown)] == ["drop-caches"]
    (*_, failed) = run(engine, digest, plugins=plugins, upscaler="Crowded")
    assert isinstance(failed, Failed) and failed.code == "out_of_memory", "nothing is kept that could be freed"

"""The animation shows every step and ends in the picture, and other programs read it."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.infotext.files import read_infotext
from sdterm.core.library.checkpoints import Library
from sdterm.events import Failed, Grid, Image


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(Path(__file__).parents[1], folder / "step_animation")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


def frames(data: bytes) -> list[np.ndarray]:
    picture = Picture.open(BytesIO(data))
    shown = []
    for number in range(picture.n_frames):  # type: ignore[attr-defined]
        picture.seek(number)
        shown.append(np.asarray(picture.convert("RGB")).astype(int))
    return shown


def test_the_steps_are_shown_and_the_last_frame_is_the_picture(plugins: PluginSet, tmp_path: Path) -> None:
    engine = Engine(library=Library(tmp_path), device="cpu")

    def run(**fields: object) -> list[Image | Grid]:
        small = {"prompt": "red circle, blue background", "seed": 7, "steps": 5, "width": 64, "height": 72}
        events = [*engine.run(GenerationRequest.model_validate(small | {"sampler": "Euler"} | fields), plugins)]
        assert not isinstance(events[-1], Failed), events[-1]
        return [event for event in events if isinstance(event, Image | Grid)]

    (png,) = run()
    (animation,) = run(format="Step animation", format_options={"lossless": True, "last_ms": 500})
    assert (
        animation.suffix == ".webp"
        and animation.data == run(format="step_animation", format_options={"lossless": True, "last_ms": 500})[0].data
    ), "the same request gives the same bytes"
    *steps, last = frames(animation.data)
    final = np.asarray(Picture.open(BytesIO(png.data))).astype(int)
    assert len(steps) == 5 and np.array_equal(last, final)
    distances = [np.abs(step - final).mean() for step in steps]
    assert distances[-1] < distances[0], "the steps come nearer to the picture"
    (tmp_path / "steps.webp").write_bytes(animation.data)
    assert read_infotext(tmp_path / "steps.webp") == animation.infotext
    *pictures, grid = run(format="step_animation", batch_size=2, grid=True)
    assert isinstance(grid, Grid) and len(frames(grid.data)) == 1 and len(frames(pictures[1].data)) > 3

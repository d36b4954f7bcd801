"""The small pipelines are real ones: what a user asks for shows in their pictures."""

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.conftest import Folder
from tests.pipelines.test_matrix import SETUPS, Setup, drawn_by, loaded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # diffusers' own


@pytest.mark.few(1)
@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.id)
def test_prompt_and_seed_show_in_the_pixels(setup: Setup, folder: Folder) -> None:
    pipeline = loaded(setup, folder(setup.name))
    usual = drawn_by(pipeline, setup.call)
    assert usual.std() > 10, "it is no plain colour"
    assert (usual % 255 == 0).mean() < 0.9, "nor all black and white"
    pictures = [usual, drawn_by(pipeline, setup.call, seed=8), drawn_by(pipeline, setup.call | {"prompt": "a castle"})]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.array_equal(drawn_by(pipeline, setup.call), usual)


def test_a_pipeline_is_built_the_same_each_time(folder: Folder, tmp_path: Path) -> None:
    from tests.pipelines.building import build

    first, again = folder("tomorrow"), build("tomorrow", tmp_path / "again")
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert files and all((first / path).read_bytes() == (again / path).read_bytes() for path in files)

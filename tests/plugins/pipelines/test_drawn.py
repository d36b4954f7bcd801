"""A model in several files is drawn with like the folder that has it all."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.tensors import ModelFileError
from sdterm.core.planning.choices import choose
from sdterm.core.planning.plan import choose_again, prepare
from sdterm.core.settings.paths import CHECKPOINTS
from tests.engine.conftest import images
from tests.pipelines.building import build
from tests.plugins.pipelines.test_loading import original, state_of

PLUGINS = load_plugins(None, third_party=False)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """`whole`, and `mine` with `small`, whose weights lie in files of their own."""
    at, models = tmp_path / CHECKPOINTS, tmp_path / "models"
    whole = build("z-image", at / "whole")
    shutil.copytree(whole, at / "small", ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(original(state_of(whole / "transformer")), at / "mine.safetensors")
    for folder, part in (("text_encoder", "text_encoder"), ("VAE", "vae")):
        (models / folder).mkdir()
        save_file(state_of(whole / part), models / folder / "its.safetensors")
    return Library(tmp_path)


def asked(model: str) -> GenerationRequest:
    return GenerationRequest(prompt="a house", model=model, steps=2, seed=3, width=64, height=64)


def test_its_pictures_are_the_same_and_its_plan_names_all_files(library: Library) -> None:
    engine, request = Engine(library=library, device="cpu"), asked("mine")
    whole, mine = (images([*engine.run(each, PLUGINS)])[0] for each in (asked("whole"), request))
    assert whole.pixel_hash == mine.pixel_hash
    choices = choose(request, PLUGINS, library)
    plan = prepare(request, choices, PLUGINS, library, {})
    assert plan.parts == {
        part: library.sha256(library.root / "models" / folder / "its.safetensors")
        for part, folder in (("text_encoder", "text_encoder"), ("vae", "VAE"))
    }
    assert choose_again(plan, PLUGINS, library).first.model.match.files == choices.first.model.match.files
    theirs = library.root / "models" / "VAE" / "its.safetensors"
    save_file({key: tensor + 1 for key, tensor in load_file(theirs).items()}, theirs)
    with pytest.raises(ModelFileError, match=r"^mine now takes its vae from another file"):
        choose_again(plan, PLUGINS, library)

"""Pixel Flow: a checkpoint with random weights is made here; sdterm recognises it and draws with it."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.events import Failed, Image
from sdterm.hooks import Components, Sampler, Scheduler, TextOptions
from sdterm.modelling.sampling import FlowSampling
from sdterm.testing import assert_components_conform

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
}
WORDS = ["red", "green", "blue", "night"]
NAME = "a flow"


def checkpoint(folder: Path) -> Path:
    """A checkpoint of the family: 30,000 random numbers."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        unet, words = UNet2DConditionModel(**CONFIG), torch.randn(1 + len(WORDS), 8)
    tensors = {f"unet.{key}": value for key, value in unet.state_dict().items()} | {"words.weight": words}
    metadata = {"pixel_flow.unet": json.dumps(CONFIG), "pixel_flow.words": json.dumps(WORDS)}
    save_file(tensors, folder / f"{NAME}.safetensors", metadata)
    return folder / f"{NAME}.safetensors"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginSet:
    folder = tmp_path_factory.mktemp("extensions")
    shutil.copytree(Path(__file__).parents[1], folder / "pixel_flow")
    loaded = load_plugins(folder)
    assert not loaded.problems
    return loaded


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    root = tmp_path_factory.mktemp("data")
    checkpoint(root / "models" / "Stable-diffusion")
    return Engine(library=Library(root), device="cpu")


def draw(engine: Engine, plugins: PluginSet, **fields: object) -> list[np.ndarray]:
    small = {"model": NAME, "prompt": "red", "seed": 7, "steps": 4, "width": 64, "height": 64, "cfg_scale": 2}
    events = [*engine.run(GenerationRequest.model_validate({**small, "sampler": "Euler", **fields}), plugins)]
    assert not isinstance(events[-1], Failed), events[-1]
    images = [event for event in events if isinstance(event, Image)]
    return [np.asarray(Picture.open(BytesIO(image.data))).astype(int) for image in images]


def built(engine: Engine, plugins: PluginSet) -> Components:
    file = engine.library.find(NAME)
    return recognise(file, plugins)[0].build(file, torch.device("cpu"), torch.float32)


def test_its_components_keep_the_rules(engine: Engine, plugins: PluginSet) -> None:
    assert_components_conform(built(engine, plugins), texts=("a red night", "blue"))


def test_a_picture_is_what_the_prompt_and_the_seed_say_and_each_of_a_batch_is_drawn_by_itself(
    engine: Engine, plugins: PluginSet
) -> None:
    (alone,) = draw(engine, plugins)
    assert np.array_equal(alone, draw(engine, plugins)[0])
    assert np.abs(draw(engine, plugins, seed=6, batch_size=2)[1] - alone).max() <= 1
    assert not np.array_equal(draw(engine, plugins, prompt="blue night")[0], alone)
    assert draw(engine, plugins, width=None, height=None, steps=1)[0].shape == (64, 64, 3), "the native size"


def test_every_sampler_that_says_so_integrates_the_flow_and_comes_to_the_picture_of_diffusers_own(
    engine: Engine, plugins: PluginSet
) -> None:
    """In enough steps all come to one picture: that of diffusers' scheduler for flows and the same network."""
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    from sdterm.engine.noise import generator

    model = built(engine, plugins)
    x = generator(7, "NV", model.device)((3, 64, 64))[None]
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 20, 20).tolist())
    words = model.encode(["red"], TextOptions(64, 64))["words"]
    with torch.inference_mode():
        for t in scheduler.timesteps:
            velocity = model.modules["unet"](x, t[None], encoder_hidden_states=words, return_dict=False)[0]
            x = scheduler.step(velocity, t, x, return_dict=False)[0]
    theirs = ((x[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    able = [sampler for sampler in plugins.all(Sampler) if "flow" in sampler.models]
    assert {"Euler", "Heun", "DPM++ 2M"} <= {sampler.label for sampler in able}
    for sampler in able:
        (ours,) = draw(engine, plugins, sampler=sampler.label, scheduler="Simple", steps=20, cfg_scale=1)
        assert (off := np.abs(ours - theirs).max()) <= (1 if sampler.label == "Euler" else 8), (sampler.label, off)


def test_samplers_and_schedules_for_other_models_are_refused_by_name_with_those_that_can(
    engine: Engine, plugins: PluginSet
) -> None:
    unfit = [("sampler", each) for each in plugins.all(Sampler) if "flow" not in each.models]
    unfit += [("scheduler", each) for each in plugins.all(Scheduler) if "flow" not in each.models]  # type: ignore[misc]
    assert len(unfit) > 10
    for field, part in unfit:
        asked = GenerationRequest.model_validate({"model": NAME, "prompt": "", "sampler": "Euler", field: part.label})
        (failed,) = engine.run(asked, plugins)
        assert isinstance(failed, Failed) and failed.code == "bad_request"
        begin = f"The {field} {part.label} cannot be used with rectified flow models like {NAME}: choose "
        assert failed.message.startswith(begin) and " or " in failed.message
        assert ("Euler" if field == "sampler" else "Karras") in failed.message.removeprefix(begin)


def test_every_schedule_that_says_so_begins_and_ends_within_the_flow(plugins: PluginSet) -> None:
    levels = FlowSampling()
    for scheduler in plugins.all(Scheduler):
        if "flow" in scheduler.models:
            options = {option.name: option.default for option in scheduler.options}
            sigmas = scheduler.sigmas(7, levels, **options)
            assert 0.9 < sigmas[0] <= 1 and sigmas[-1] <= 0.001, scheduler.label


@pytest.mark.parametrize("lost", ["words.weight", "unet.conv_in.weight"])
def test_a_damaged_file_is_one_sentence(lost: str, plugins: PluginSet, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "models" / "Stable-diffusion")
    engine = Engine(library=Library(tmp_path), device="cpu")
    metadata = dict(engine.library.find(NAME).metadata)
    save_file({key: value for key, value in load_file(path).items() if key != lost}, path, metadata)
    *_, failed = engine.run(GenerationRequest(model=NAME, prompt="", sampler="Euler"), plugins)
    assert isinstance(failed, Failed) and failed.message.startswith(f"{NAME}.safetensors has ")
    assert len(failed.message.splitlines()) == 1

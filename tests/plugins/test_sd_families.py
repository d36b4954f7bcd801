"""SD 2, SDXL, its refiner, inpainting and v-prediction models draw A1111's pictures, measured on narrow checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from sdterm import Engine, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.hooks import Components, ModelFamily, TextOptions
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.plugins.sd import architecture, keys, sd2, sdxl
from sdterm.testing import assert_components_conform
from tests.engine.conftest import images
from tests.engine.golden import pixels, psnr
from tests.narrow_checkpoints import full_size, write
from tests.plugins.test_sd1 import Header
from tests.tiny_checkpoint import GOLDEN

CASES = json.loads((GOLDEN / "narrow.json").read_text())
ARRAYS = np.load(GOLDEN / "narrow.npz")
CPU, PLUGINS = torch.device("cpu"), load_plugins()
EVERY_DAY = {
    *("narrow-xl", "narrow-sd2-v", "vdemo"),
    *("X28-long2-negative", "X33-and-weights", "X91-clipskip2-crop-emphasis", "W20-ztsnr-euler", "V01-2mk"),
}
"""Models and pictures; the others are of the same code, so they are among the heavy tests."""
FAMILIES = {
    "narrow-xl": ("sdxl", 1024),
    "narrow-xl-v": ("sdxl", 1024),
    "narrow-xl-inpaint": ("sdxl", 1024),
    "narrow-xl-refiner": ("sdxl_refiner", 1024),
    "narrow-sd2": ("sd2", 512),
    "narrow-sd2-v": ("sd2", 768),
    "vdemo": ("sd1", 128),
}

Record = Callable[[str, object], None]


def weighed(name: str, value: object, **more: Any) -> Any:
    return pytest.param(value, marks=[pytest.mark.heavy] * (name not in EVERY_DAY), **more)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Its checkpoints are built when they are asked for."""
    root = tmp_path_factory.mktemp("narrow")
    (root / CHECKPOINTS).mkdir(parents=True)
    return Engine(library=Library(root), device="cpu")


def have(model: str, engine: Engine) -> Path:
    path = engine.library.root / CHECKPOINTS / f"{model}.safetensors"
    if not path.exists() and model == "vdemo":
        shutil.copy(EMBEDDED_MODEL, path)
        path.with_suffix(".yaml").write_text("model: {params: {parameterization: v, unet_config: {params: {}}}}")
    elif not path.exists():
        write(model, path.parent)
    return path


def built(model: str, engine: Engine) -> Components:
    have(model, engine)
    checkpoint = engine.library.find(model)
    family, match = recognise(checkpoint, PLUGINS)
    assert (family.id, match.native_size, match.refusal) == (*FAMILIES[model], None)
    return family.build(checkpoint, CPU, torch.float32)


@pytest.mark.parametrize("model", [weighed(model, model) for model in FAMILIES])
def test_a_checkpoint_is_recognised_and_its_prompts_become_what_a1111_makes_of_them(
    model: str, engine: Engine, record_property: Record
) -> None:
    components = built(model, engine)
    assert_components_conform(components)
    for case in (case for case in CASES["conditionings"] if case["model"] == model):
        settings = case["settings"]
        options = TextOptions(
            width=case["width"],
            height=case["height"],
            negative=case["negative"],
            clip_skip=settings.get("CLIP_stop_at_last_layers", 1),
            crop_top=settings.get("sdxl_crop_top", 0),
            crop_left=settings.get("sdxl_crop_left", 0),
        )
        with torch.inference_mode():
            found = components.encode(case["texts"], options)
        for index in range(len(case["texts"])):
            parts = {"context": found["context"][index, ::13]}
            parts |= {"vector": found["vector"][index]} if "vector" in found.tensors else {}
            for part, tensor in parts.items():
                expected = ARRAYS[f"{case['id']}/{index}/{part}"]
                assert tensor.shape == expected.shape, case["id"]
                error = float(np.abs(tensor.numpy() - expected).max() / max(1e-9, np.abs(expected).max()))
                record_property(f"{case['id']}_{part}_error", error)
                assert error <= 1e-4, (case["id"], part)


@pytest.mark.parametrize("case", [weighed(case["id"], case, id=case["id"]) for case in CASES["images"]])
def test_a_picture_is_a1111s(case: dict[str, Any], engine: Engine, record_property: Record) -> None:
    have(case["model"], engine)
    settings = {"randn_source": "NV", **case["settings"]}
    request = asked(read_values(case["request"]), settings, PLUGINS, {}).request
    (image,) = images(list(engine.run(request.model_copy(update={"model": case["model"]}), PLUGINS)))
    found = psnr(pixels(image.data), ARRAYS[case["id"]])
    record_property("psnr", found)
    assert found >= 45


UNETS: dict[str, dict[str, Any]] = {  # as in the unet/config.json of stabilityai's own folders
    "sdxl": {
        "block_out_channels": [320, 640, 1280],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "projection_class_embeddings_input_dim": 2816,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    },
    "sdxl_refiner": {
        "block_out_channels": [384, 768, 1536, 1536],
        "transformer_layers_per_block": [1, 4, 4, 4],
        "attention_head_dim": [6, 12, 24, 24],
        "cross_attention_dim": 1280,
        "projection_class_embeddings_input_dim": 2560,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    },
    "sd2": {
        "block_out_channels": [320, 640, 1280, 1280],
        "transformer_layers_per_block": [1, 1, 1, 1],
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    },
}


@pytest.mark.parametrize("name", UNETS)
def test_a_file_of_full_size_has_the_configuration_and_the_names_that_diffusers_gives_it(name: str) -> None:
    """By its header alone: what diffusers' own converter makes of each tensor's name."""
    from diffusers.loaders import single_file_utils as theirs

    shapes = full_size(name)
    header = Header(shapes)
    family = next(family for family in PLUGINS.all(ModelFamily) if family.id == name)
    match = family.detect(header)
    assert match and match.refusal is None
    config = architecture.unet_config(header, sdxl.USUAL)
    assert {key: config[key] for key in UNETS[name]} == UNETS[name] and config["use_linear_projection"]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    came_from = {id(tensor): key for key, tensor in tensors.items()}

    def named(converted: dict[str, torch.Tensor]) -> dict[str, str]:
        return {came_from[id(t)]: key for key, t in converted.items() if id(t) in came_from}  # all but split ones

    def ours(names: keys.Names) -> dict[str, str]:
        return {key: owns[0] for key, owns in names.items() if len(owns) == 1}

    assert ours(keys.unet_keys(shapes)) == named(theirs.convert_ldm_unet_checkpoint(tensors, config))
    vae = architecture.vae_config(header, sdxl.USUAL)
    assert (vae["block_out_channels"], vae["layers_per_block"]) == ([128, 256, 512, 512], 2)
    found = ours(keys.vae_keys(shapes))
    converted = named(theirs.convert_ldm_vae_checkpoint(tensors, vae))
    assert converted.items() <= found.items()
    assert all(".mid_block.attentions.0." in found[key] for key in found.keys() - converted.keys()), "reshaped there"
    prefix = {"sdxl": sdxl.TEXT_G, "sdxl_refiner": sdxl.TEXT_REFINER, "sd2": sd2.TEXT}[name]
    text = architecture.open_clip_config(header, prefix)
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**text))
    converted = named(theirs.convert_open_clip_checkpoint(encoder, tensors, prefix))
    found = {key: f"text_model.{own}" for key, own in ours(keys.open_clip_keys(shapes, prefix)).items()}
    missing = found.items() - converted.items()
    assert not {key for key, _ in missing if "resblocks.23" not in key or name != "sd2"}, (
        "diffusers leaves SD 2's last out"
    )


def test_a_model_that_predicts_v_is_known_by_what_its_network_makes_of_grey_where_nothing_says_it(
    engine: Engine,
) -> None:
    """A1111's way for SD 2; the narrow model's network is no trained one, so the answer is put into its last bias."""
    from sdterm.plugins.sd.sd2 import seems_v

    unet: Any = built("narrow-sd2-v", engine).modules["unet"]
    before = unet.conv_out.bias.clone()
    answers = []
    for shift in (-5.0, 5.0):
        unet.conv_out.bias = torch.nn.Parameter(before + shift, requires_grad=False)
        answers.append(seems_v(unet))
    assert answers == [True, False]


def test_two_copies_of_a_file_with_other_configurations_are_two_models(engine: Engine) -> None:
    have("vdemo", engine)
    fields = {"prompt": "lake", "steps": "2", "seed": 1, "width": 64, "height": 64}
    request = asked(read_values(fields), {}, PLUGINS, {}).request
    drawn = [
        images(list(engine.run(request.model_copy(update={"model": model}), PLUGINS)))[0].pixel_hash
        for model in ("vdemo", "sdterm-demo", "vdemo")
    ]
    assert drawn[0] == drawn[2] != drawn[1]

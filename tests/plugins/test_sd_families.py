"""SD 2, SDXL, its refiner, inpainting and v-prediction models draw A1111's pictures, measured on narrow checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdterm import Engine, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.recognition import recognise
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.hooks import Components, TextOptions
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.testing import assert_components_conform
from tests.engine.conftest import images
from tests.engine.golden import pixels, psnr
from tests.narrow_checkpoints import write
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

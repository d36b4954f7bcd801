"""Second passes and refiners draw what A1111's do."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sdterm import Engine, PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext.read import read
from sdterm.core.infotext.write import single_image_request
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.events import Done, Started
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.request import GenerationRequest
from tests import narrow_checkpoints, network_files
from tests.engine.conftest import images
from tests.engine.golden import pixels, psnr
from tests.network_files import UNET, z
from tests.tiny_checkpoint import GOLDEN

CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "passes.json").read_text())
PICTURES = np.load(GOLDEN / "passes.npz")
LIGHT = ("C13", "C38", "C40", "C58", "G16", "R20")
_OURS = {"demo": "sdterm-demo"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with the networks, the demo model under its name, and two models made of it."""
    root = tmp_path_factory.mktemp("passes")
    network_files.write(root)
    folder = root / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    weights = load_file(EMBEDDED_MODEL)
    first = f"{UNET}input_blocks.0.0.weight"
    second = {k: shaken(k, v) if k.startswith(UNET) and v.ndim > 1 else v for k, v in weights.items()}
    save_file(second, folder / "demo-b.safetensors", {"format": "pt"})
    extra = z("demo-inpaint", first, (weights[first].shape[0], 5, 3, 3), 0.1)
    inpainting = weights | {first: np.concatenate([weights[first], extra], 1)}
    save_file(inpainting, folder / "demo-inpaint.safetensors", {"format": "pt"})
    return root


def shaken(key: str, weight: np.ndarray) -> np.ndarray:
    changed = weight.astype(np.float64) * (1 + 0.1 * z("demo-b", key, weight.shape, 1.0, np.float64))
    return changed.astype(weight.dtype)


Engines = Callable[[str], Engine]


@pytest.fixture(scope="module")
def engines(data: Path) -> Engines:
    """An engine that finds a model, with its refiner."""

    @cache
    def engine(model: str) -> Engine:
        folder = data / "models" / "Stable-diffusion"
        if model.startswith("narrow"):
            network_files.write_narrow(data)
            narrow_checkpoints.write(model, folder)
            if model == "narrow-xl":
                narrow_checkpoints.write("narrow-xl-refiner", folder)
        return Engine(library=Library(data), device="cpu")

    return engine


def wanted(case: dict[str, Any], plugins: PluginSet) -> GenerationRequest:
    """What A1111 was asked for, by its own API."""
    settings = {"model": _OURS.get(case["model"], case["model"]), "noise_source": "NV"}
    return asked(read_values(case["request"]), case["settings"], plugins, settings).request


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name[:3] in LIGHT else pytest.mark.heavy) for name in CASES]
)
def test_pictures_and_infotexts_are_a1111s(name: str, engines: Engines, plugins: PluginSet) -> None:
    case = CASES[name]
    made = wanted(case, plugins)
    events = list(engines(case["model"]).run(made, plugins))
    assert isinstance(events[-1], Done), events[-1]
    plan = Plan.model_validate_json(next(event.data for event in events if isinstance(event, Started)))
    for number, (image, text) in enumerate(zip(images(events), case["infotexts"], strict=True)):
        assert psnr(pixels(image.data), PICTURES[f"{name}/{number}"]) >= 45
        ours, theirs = infotext.parse(image.infotext), infotext.parse(text)
        keys = [key for key in theirs.parameters if key not in ("Model hash", "Version")]
        assert [key for key in ours.parameters if key in keys] == keys, "A1111's keys in its order"
        said = {key: ours.parameters[key] for key in keys if "heckpoint" not in key and key != "Refiner"}
        assert said == {key: theirs.parameters[key] for key in said}
        again = read(ours, plugins).fields
        alone = single_image_request(plan, plan.images[number])
        differ = {field for field, value in again.items() if getattr(alone, field) != value}
        assert not differ, "its infotext asks for the same picture"

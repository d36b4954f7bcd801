"""Second passes and refiners draw what A1111's do."""

import gc
import json
import math
import weakref
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from sdterm import Engine, PluginSet
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext.read import read
from sdterm.core.infotext.write import single_image_request
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.events import Done, Failed, ModelLoading, Resumed, SideImage, Started, Step
from sdterm.host.sdapi.requests import asked
from sdterm.host.sdapi.values import read_values
from sdterm.request import GenerationRequest
from tests import narrow_checkpoints, network_files
from tests.engine.conftest import images, request
from tests.engine.golden import pixels, psnr
from tests.engine.stopping import stop_at_step
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


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name[:3] in LIGHT else pytest.mark.heavy) for name in CASES]
)
def test_pictures_and_infotexts_are_a1111s(
    name: str, engines: Engines, plugins: PluginSet, record_property: Callable[[str, object], None]
) -> None:
    case, quality = CASES[name], math.inf
    made = wanted(case, plugins)
    events = list(engines(case["model"]).run(made, plugins))
    assert isinstance(events[-1], Done), events[-1]
    plan = Plan.model_validate_json(next(event.data for event in events if isinstance(event, Started)))
    for number, (image, text) in enumerate(zip(images(events), case["infotexts"], strict=True)):
        quality = min(quality, psnr(pixels(image.data), PICTURES[f"{name}/{number}"]))
        assert quality >= 45
        ours, theirs = infotext.parse(image.infotext), infotext.parse(text)
        keys = [key for key in theirs.parameters if key not in ("Model hash", "Version")]
        assert [key for key in ours.parameters if key in keys] == keys, "A1111's keys in its order"
        said = {key: ours.parameters[key] for key in keys if "heckpoint" not in key and key != "Refiner"}
        assert said == {key: theirs.parameters[key] for key in said}
        again = read(ours, plugins).fields
        alone = single_image_request(plan, plan.images[number])
        differ = {field for field, value in again.items() if getattr(alone, field) != value}
        assert not differ, "its infotext asks for the same picture"
    record_property("case", f"passes {name}")
    record_property("psnr", quality)


HIRES = {"model": "sdterm-demo", "steps": 5, "hires": True, "hires_scale": 1.5, "denoising_strength": 0.6}
REFINED = {"model": "sdterm-demo", "steps": 8, "refiner": "demo-b", "refiner_switch_at": 0.5}


@pytest.fixture
def engine(engines: Engines) -> Engine:
    return engines("demo")


def test_a_refiner_has_the_memory_of_the_model_before_it(engine: Engine, plugins: PluginSet) -> None:
    before: weakref.ref[object] | None = None
    freed = None
    for event in engine.run(request(**REFINED), plugins):
        if isinstance(event, Step) and not before and engine.model:
            before = weakref.ref(engine.model.components.modules["unet"])
        if isinstance(event, ModelLoading) and event.model == "demo-b" and event.done and before:
            gc.collect()
            freed = before() is None
    assert freed, "two models were in memory, though one is kept"
    assert engine.model and engine.model.files[0] == engine.library.sha256(engine.library.find("demo-b").path)


@pytest.mark.parametrize("step", [2, pytest.param(7, marks=pytest.mark.heavy)])
def test_a_run_that_is_stopped_before_or_after_the_refiner_took_over_draws_the_same(
    engine: Engine, plugins: PluginSet, tmp_path: Path, step: int
) -> None:
    whole = list(engine.run(request(**REFINED), plugins))
    stop_at_step(engine, plugins, request(**REFINED), step, tmp_path / "tape")
    again = list(engine.run(request(**REFINED), plugins, tape=tmp_path / "tape"))
    (one,), (other,) = images(whole), images(again)
    assert one.pixel_hash == other.pixel_hash and one.infotext == other.infotext
    assert "Refiner: demo-b [" in one.infotext


def test_a_refiner_that_is_never_reached_is_not_told(engine: Engine, plugins: PluginSet) -> None:
    late = REFINED | {"steps": 2, "sampler": "DDIM", "refiner_switch_at": 0.999}  # its last call is at timestep 1
    (image,) = images(list(engine.run(request(**late), plugins)))
    assert not any("efiner" in key for key in infotext.parse(image.infotext).parameters)


def test_a_batch_goes_through_both_passes_as_each_of_its_images_does(engine: Engine, plugins: PluginSet) -> None:
    together = images(list(engine.run(request(**HIRES, seed=3, batch_size=2), plugins)))
    alone = [images(list(engine.run(request(**HIRES, seed=seed), plugins)))[0] for seed in (3, 4)]
    for one, other in zip(together, alone, strict=True):
        assert psnr(pixels(one.data), pixels(other.data)) >= 60


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hires_scale": 8.0, "width": 2048, "height": 2048}, "16384x16384"),
        ({"hires_model": "nobody"}, "nobody"),
        ({"hires_upscaler": "nobody"}, "nobody"),
        ({"hires_sampler": "nobody"}, "nobody"),
        ({"refiner": "nobody"}, "nobody"),
    ],
)
def test_what_a_second_pass_cannot_have_is_told_before_the_first(
    engine: Engine, plugins: PluginSet, fields: dict[str, object], said: str
) -> None:
    *before, last = engine.run(request(**(HIRES | fields)), plugins)
    assert isinstance(last, Failed) and said in last.message and not before


@pytest.mark.parametrize("upscaler", ["Latent", pytest.param("Lanczos", marks=pytest.mark.heavy)])
def test_the_first_passes_pictures_are_handed_out_once_though_the_second_is_stopped(
    engine: Engine, plugins: PluginSet, tmp_path: Path, upscaler: str
) -> None:
    made = request(**HIRES, batch_size=2, save_before_hires=True, hires_upscaler=upscaler)
    stopped = stop_at_step(engine, plugins, made, 1, tmp_path / "tape", pass_no=1)
    again = list(engine.run(made, plugins, tape=tmp_path / "tape"))
    before, after = ([event for event in events if isinstance(event, SideImage)] for events in (stopped, again))
    assert [(side.kind, side.index) for side in before] == [("before hires", 0), ("before hires", 1)] and not after
    firsts = images(list(engine.run(request(model="sdterm-demo", steps=5, batch_size=2), plugins)))
    for side, first, image in zip(before, firsts, images(again), strict=True):
        assert np.array_equal(pixels(side.data), pixels(first.data)), "what the first pass draws by itself"
        assert (side.width, side.height, side.infotext) == (64, 64, image.infotext)


def test_a_given_picture_stands_for_the_first_pass(engine: Engine, plugins: PluginSet) -> None:
    (first,) = images(list(engine.run(request(model="sdterm-demo", steps=5), plugins)))
    given = Inputs(engine.library.root).put(first.data)
    upscaled = HIRES | {"hires_upscaler": "Lanczos"}
    (whole,) = images(list(engine.run(request(**upscaled), plugins)))
    events = list(engine.run(request(**upscaled, first_pass_image=given, save_before_hires=True), plugins))
    assert {event.pass_no for event in events if isinstance(event, Step)} == {1}
    assert not any(isinstance(event, SideImage) for event in events), "it is there already"
    (image,) = images(events)
    assert image.pixel_hash == whole.pixel_hash
    fields = read(infotext.parse(image.infotext), plugins).fields
    assert fields["first_pass_image"] == given and fields["hires"], "it is asked for with the picture"
    (plain,) = images(list(engine.run(request(model="sdterm-demo", steps=5, first_pass_image=given), plugins)))
    assert plain.pixel_hash == first.pixel_hash, "without hires fix nothing goes on from it"


def test_a_given_picture_is_encoded_for_a_latent_upscaler_and_its_size_does_not_matter(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    buffer = BytesIO()
    Image.effect_noise((100, 70), 60).convert("RGB").save(buffer, "PNG")
    given = Inputs(engine.library.root).put(buffer.getvalue())
    made = request(**HIRES, hires_upscaler="Latent", first_pass_image=given, batch_size=2)
    (one, other) = images(list(engine.run(made, plugins)))
    assert (one.width, one.height) == (96, 96) and one.pixel_hash != other.pixel_hash
    stop_at_step(engine, plugins, made, 2, tmp_path / "tape", pass_no=1)
    events = list(engine.run(made, plugins, tape=tmp_path / "tape"))
    assert [image.pixel_hash for image in images(events)] == [one.pixel_hash, other.pixel_hash]
    assert any(isinstance(event, Resumed) and event.pass_no == 1 for event in events)

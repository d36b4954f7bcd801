"""Networks act as A1111's do, and leave no trace."""

import gc
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.infotext import grammar as infotext
from sdterm.core.infotext.record import Provenance
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.engine.run import Resume
from sdterm.events import Done, Event, Failed, Image, Started, Warning
from sdterm.fields import FIELDS
from tests import narrow_checkpoints, network_files, tiny_checkpoint
from tests.engine.conftest import images, request
from tests.engine.golden import pixels, psnr
from tests.tiny_checkpoint import GOLDEN

CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "networks.json").read_text())
PICTURES = np.load(GOLDEN / "networks.npz")
_FIELDS = {row.api: row.name for row in FIELDS.values() if row.api}
_SETTINGS = {row.a1111: row.name for row in FIELDS.values() if row.a1111}
LAKE = {"prompt": "a lake", "steps": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    network_files.write(root)
    return root


Engines = Callable[[str], Engine]


@pytest.fixture(scope="module")
def engines(data: Path) -> Engines:
    """An engine for each model: `demo`, `tiny`, or the name of a narrow one."""

    @cache
    def engine(model: str) -> Engine:
        if model == "demo":
            return Engine(library=Library(data), device="cpu")
        network_files.write_narrow(data)
        chosen = tiny_checkpoint.write(data) if model == "tiny" else narrow_checkpoints.write(model, data)
        return Engine(library=Library(data, chosen=chosen), device="cpu")

    return engine


@pytest.fixture
def engine(engines: Engines) -> Engine:
    return engines("demo")


def draw(engine: Engine, plugins: PluginSet, **fields: object) -> list[Event]:
    events = list(engine.run(request(**(LAKE | fields)), plugins))
    assert isinstance(events[-1], Done), events[-1]
    return events


def hashes(engine: Engine, plugins: PluginSet, **fields: object) -> list[str]:
    """Of the pictures."""
    return [image.pixel_hash for image in images(draw(engine, plugins, **fields))]


def said(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warning)]


def weights(engine: Engine) -> dict[str, str]:
    """A hash of each tensor of the model in memory."""
    assert engine.model
    return {
        f"{part}.{name}": hashlib.sha256(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
        for part, module in engine.model.components.modules.items()
        for name, tensor in module.state_dict().items()
        if tensor.dim()
    }


LIGHT = ("E03", "E06", "E11", "E25", "E28", "E30", "E31", "E33", "E36", "E53", "E60", "E65", "E75", "T02", "X96")


@pytest.mark.few(8)
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case[:3] in LIGHT else [pytest.mark.heavy]) for case in CASES]
)
def test_pictures_and_hashes_are_a1111s(
    case: str, engines: Engines, plugins: PluginSet, record_property: Callable[[str, object], None]
) -> None:
    asked, texts = CASES[case]["request"], CASES[case]["infotexts"]
    fields = {_FIELDS[name]: value for name, value in asked.items() if name in _FIELDS}
    settings = {_SETTINGS[name]: value for name, value in asked.get("override_settings", {}).items()}
    wanted = GenerationRequest.model_validate({"noise_source": "NV"} | fields | settings)
    model = CASES[case].get("model", "tiny" if case[0] == "T" else "demo")
    events = list(engines(model).run(wanted, plugins))
    assert isinstance(events[-1], Done), events[-1]
    found = [psnr(pixels(image.data), PICTURES[f"{case}/{n}"]) for n, image in enumerate(images(events))]
    record_property("case", f"networks {case}")
    record_property("psnr", min(found))
    assert min(found) >= 60
    for image, text in zip(images(events), texts, strict=True):
        ours, theirs = infotext.parse(image.infotext), infotext.parse(text)
        keys = [key for key in theirs.parameters if key not in ("Model hash", "Version")]
        assert [key for key in ours.parameters if key in keys] == keys
        for key in ("Lora hashes", "TI hashes"):
            assert ours.parameters.get(key) == theirs.parameters.get(key)
        assert ours.prompt == theirs.prompt


def test_a_network_leaves_every_tensor_as_the_file_has_it(engine: Engine, plugins: PluginSet) -> None:
    (plain,) = hashes(engine, plugins)
    before = weights(engine)
    tags = ("lora:demo-lora-a:1", "lora:demo-full:0.7", "lora:demo-loha:1", "lora:demo-ia3:1", "hypernet:hyper-relu:1")
    called = " ".join(f"<{tag}>" for tag in tags)
    assert hashes(engine, plugins, prompt=f"a lake {called}") != [plain]
    after = weights(engine)
    changed = {name for name in before if after[name] != before[name]}
    assert {"unet", "text_encoder"} == {name.partition(".")[0] for name in changed}
    assert hashes(engine, plugins) == [plain] and weights(engine) == before


def test_another_weight_of_a_network_that_is_on_starts_from_the_file_again(engine: Engine, plugins: PluginSet) -> None:
    (first,) = hashes(engine, plugins, prompt="a lake <lora:demo-lora-a:0.5>")
    once = weights(engine)
    assert hashes(engine, plugins, prompt="a lake <lora:demo-lora-a:1>") != [first]
    assert hashes(engine, plugins, prompt="a lake <lora:demo-lora-a:0.5>") == [first]
    assert weights(engine) == once


@pytest.mark.heavy
def test_images_of_a_batch_have_each_its_own_networks(engine: Engine, tmp_path: Path) -> None:
    """A1111 gives all images of a batch the networks of the first."""
    (tmp_path / "tags.py").write_text(
        "from sdterm.hooks import *\n"
        "def transform(prompt, rng, context):\n"
        "    return tuple(PromptText(prompt.positive + tag) for tag in ('', '<lora:demo-lora-a:1>', ''))\n"
        "@hookimpl\ndef sdterm_prompt_transforms():\n    return [PromptTransform('tags', 'Tags', transform)]\n"
    )
    mixed = load_plugins(tmp_path)
    drawn = images(draw(engine, mixed, batch_size=3))
    alone = [
        hashes(engine, load_plugins(), prompt=f"a lake{tag}", seed=seed)[0]
        for tag, seed in (("", 7), ("<lora:demo-lora-a:1>", 8), ("", 9))
    ]
    assert [image.index for image in drawn] == [0, 2, 1], "those without are drawn together"
    assert drawn[2].pixel_hash == alone[1] and "Lora hashes" in drawn[2].infotext
    assert not any("Lora hashes" in image.infotext for image in drawn[:2])
    assert [parse_record(image).place for image in drawn] == [(0, 2), (1, 2), (0, 1)]


def parse_record(image: Image) -> Provenance:
    return Provenance.parse(infotext.parse(image.infotext).parameters["sdterm"])


def test_what_is_not_there_is_told_and_noted(engine: Engine, plugins: PluginSet) -> None:
    (plain,) = hashes(engine, plugins)
    events = draw(engine, plugins, prompt="a lake <lora:demo-lora-c:1> <hypernet:nobody:1> <foo:bar>")
    assert [image.pixel_hash for image in images(events)] == [plain]
    assert [event.code for event in events if isinstance(event, Warning)] == ["network_ignored"] * 3
    told = " ".join(said(events))
    assert "There is no LoRA named 'demo-lora-c'" in told and "no networks of this type" in told
    noted = parse_record(images(events)[0]).ignored
    assert {*noted} == {"lora:demo-lora-c:1", "hypernet:nobody:1", "foo:bar"}


def test_a_network_of_another_model_is_told(engine: Engine, plugins: PluginSet) -> None:
    events = draw(engine, plugins, prompt="a lake <lora:tiny-lora:1>")
    assert "layers in the network tiny-lora do not fit" in " ".join(said(events))


def test_a_job_goes_on_with_the_networks_it_was_begun_with(data: Path, plugins: PluginSet, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(data / "models", root / "models")
    engine, tape = Engine(library=Library(root), device="cpu"), tmp_path / "job.tape"
    asked = request(**LAKE | {"prompt": "a lake <lora:demo-lora-a:1>"})

    def run(resume: Resume | None = None) -> list[Event]:
        return list(engine.run(asked, plugins, tape=tape, resume=resume))

    begun = run()
    plan = Plan.model_validate_json(next(event for event in begun if isinstance(event, Started)).data)
    file = root / "models" / "Lora" / "demo-lora-a.safetensors"
    file.rename(file.with_name("renamed.safetensors"))
    again = run(Resume(plan))
    assert [i.pixel_hash for i in images(again)] == [i.pixel_hash for i in images(begun)] and not said(again)
    (root / "models" / "Lora" / "demo-lora-b.safetensors").rename(file)
    assert any("made with a different network" in message for message in said(run()))
    file.with_name("renamed.safetensors").unlink()
    *_, last = run(Resume(plan))
    assert isinstance(last, Failed) and "demo-lora-a" in last.message and "is missing" in last.message


@pytest.mark.heavy
def test_many_switches_leak_nothing(engine: Engine, plugins: PluginSet) -> None:
    """Tensors that are alive after each switch, but for what the cache of texts keeps."""
    tags = ("<lora:demo-lora-a:1>", "<hypernet:hyper-linear:0.5>", "<lora:demo-loha:0.5> emb-five", "")

    def alive() -> int:
        gc.collect()
        return sum(1 for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter))

    counts = []
    for number in range(6 * len(tags)):
        draw(engine, plugins, prompt=f"a lake {tags[number % len(tags)]}", steps=1)
        if number % len(tags) == len(tags) - 1:
            counts.append(alive())
    assert max(counts[2:]) == min(counts[2:])
    assert engine.model and not engine.model.applied.networks
    assert not any(module._forward_pre_hooks for module in engine.model.components.modules["unet"].modules())


@pytest.mark.parametrize("call", ["<lora:sdterm-blueprint:1>", ", sdterm-dusk", "<hypernet:sdterm-autumn:1>"])
def test_what_ships_with_the_demo_model_changes_its_colours(call: str, engine: Engine, plugins: PluginSet) -> None:
    def colours(prompt: str) -> np.ndarray:
        drawn = draw(engine, plugins, prompt=prompt, steps=6, width=128, height=128)
        assert not said(drawn)
        return np.asarray(pixels(images(drawn)[0].data).mean(axis=(0, 1)))

    plain = "green meadow, castle, day"
    assert np.abs(colours(plain + call) - colours(plain)).max() > 15

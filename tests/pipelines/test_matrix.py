"""Each kind of pipeline draws through the engine what it draws by itself, and goes on wherever it was stopped."""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from sdterm import Engine, GenerationRequest, PluginSet
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.read import read
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import LORAS
from sdterm.engine.run import PauseAt, Resume
from sdterm.engine.tape import read_records
from sdterm.events import Failed, Image, Paused, Preview, Resumed, Started, Warning
from sdterm.request import make_request
from tests.engine.conftest import images
from tests.engine.stopping import cancel_in_call, stop_at_step
from tests.engine.test_tape import only_image, pixels, rows_of
from tests.pipelines.conftest import Folder

PROMPT, NEGATIVE = "a red house by a lake", "blurry"
STEPS, SEED = 6, 7

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # diffusers' own

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Setup:
    """A pipeline, and how it is called."""

    name: str
    negative: bool = True
    """Whether it is told what the picture must not show."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of its call, by their own names."""
    also: str = ""
    """What is different from the pipeline's other set-up."""

    @property
    def id(self) -> str:
        return f"{self.name}, {self.also}" if self.also else self.name

    @property
    def title(self) -> str:
        """As the table of pipelines calls it."""
        return ", ".join(filter(None, (TITLES[self.name], self.also)))

    @property
    def call(self) -> dict[str, Any]:
        """What diffusers' own call is given, but for the random numbers."""
        from tests.pipelines.building import CALLS, SIZE

        texts = {"prompt": PROMPT} | ({"negative_prompt": NEGATIVE} if self.negative else {})
        size = {"width": SIZE[0], "height": SIZE[1]}
        return {**texts, **size, "num_inference_steps": STEPS, **CALLS.get(self.name, {}), **self.options}

    def asked(self, **fields: object) -> GenerationRequest:
        """The same, asked of sdterm."""
        call, texts = self.call, ("prompt", "negative_prompt")
        taken = {key: call.pop(key) for key in (*texts, "width", "height") if key in call}
        taken |= {"steps": call.pop("num_inference_steps"), "seed": SEED, "model": self.name}
        taken |= {"pipeline": "tomorrow" if self.name == "tomorrow" else "diffusers", "pipeline_options": call}
        return make_request(**{**taken, **fields})


SETUPS = (
    Setup("flux", negative=False),
    Setup("flux", options={"true_cfg_scale": 2.0}, also="true CFG"),
    Setup("flux2-klein", negative=False),
    Setup("sd3"),
    Setup("z-image"),
    Setup("qwen-image"),
    Setup("krea2"),
    Setup("chroma"),
    Setup("lumina2"),
    Setup("lumina2", options={"cfg_trunc_ratio": 0.5}, also="CFG for half of it"),
    Setup("sana"),
    Setup("pixart-sigma"),
    Setup("auraflow"),
    Setup("hunyuandit"),
    Setup("cogview4"),
    Setup("sd15"),
    Setup("sdxl"),
    Setup("tomorrow", options={"warmth": 0.25}),
    Setup("ideogram4", negative=False),
    Setup("ovis-image"),
)
TITLES = {
    "flux": "FLUX.1",
    "flux2-klein": "FLUX.2 klein",
    "sd3": "SD 3.5",
    "z-image": "Z-Image",
    "qwen-image": "Qwen-Image",
    "krea2": "Krea 2",
    "chroma": "Chroma",
    "lumina2": "Lumina 2",
    "sana": "Sana",
    "pixart-sigma": "PixArt-Σ",
    "auraflow": "AuraFlow",
    "hunyuandit": "HunyuanDiT",
    "cogview4": "CogView 4",
    "sd15": "SD 1.5, a folder",
    "sdxl": "SDXL, a folder",
    "tomorrow": "a pipeline of a plugin",
    "ideogram4": "Ideogram 4",
    "ovis-image": "Ovis-Image",
}
CHEAP = {"flux", "tomorrow"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, id=each.id, marks=() if each.id in CHEAP else pytest.mark.heavy) for each in SETUPS],
)
def setup(request: pytest.FixtureRequest, folder: Folder) -> Setup:
    found: Setup = request.param
    folder(found.name)
    return found


@pytest.fixture
def note(setup: Setup, record_property: Record) -> Callable[..., None]:
    """`note(what)`: the cell of the table of pipelines (docs/compatibility.md) that a test is."""

    def noted(what: str, said: str = "yes") -> None:
        record_property("pipeline", setup.title)
        record_property("what", what)
        record_property("said", said)

    return noted


@pytest.fixture(scope="module")
def whole(setup: Setup, engine: Engine, plugins: PluginSet) -> Image:
    """The picture when nothing happens."""
    return only_image([*engine.run(setup.asked(), plugins)])


def loaded(setup: Setup, folder: Path) -> Any:
    """The pipeline as diffusers loads it."""
    from diffusers import DiffusionPipeline

    from tests.pipelines.tomorrow.pipeline import saved_in

    if setup.name == "tomorrow":
        return saved_in(folder, torch.float32)
    pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn_by(pipeline: Any, call: Mapping[str, Any], seed: int = SEED) -> np.ndarray:
    """The pixels of a pipeline's own call."""
    with torch.inference_mode():
        (picture,) = pipeline(**call, generator=torch.Generator().manual_seed(seed)).images
    return np.asarray(picture).astype(int)


def cut(tape: Path, calls: int) -> None:
    """Leave so many recorded calls of a tape."""
    ends = [end for fields, _, end in read_records(tape) if fields["kind"] == "row"]
    os.truncate(tape, ends[calls - 1])


def test_the_picture_is_that_of_the_pipelines_own_call(
    setup: Setup, whole: Image, folder: Folder, note: Callable[..., None]
) -> None:
    note("image")
    assert np.array_equal(pixels(whole.data), drawn_by(loaded(setup, folder(setup.name)), setup.call))


def test_a_picture_goes_on_from_any_call(
    setup: Setup, whole: Image, engine: Engine, plugins: PluginSet, tmp_path: Path, note: Callable[..., None]
) -> None:
    stop_at_step(engine, plugins, setup.asked(), setup.call["num_inference_steps"] - 1, tmp_path / "tape")
    recorded = rows_of(tmp_path / "tape")[0]
    calls = random.Random(setup.id).randrange(1, recorded)
    note("resumed", f"at call {calls}")
    cut(tmp_path / "tape", calls)
    events = [*engine.run(setup.asked(), plugins, tape=tmp_path / "tape")]
    assert not [event for event in events if isinstance(event, Warning)]
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.calls == calls
    assert only_image(events).pixel_hash == whole.pixel_hash


def test_paused_pictures_go_on_without_those_that_were_culled(
    setup: Setup, whole: Image, engine: Engine, plugins: PluginSet, tmp_path: Path, note: Callable[..., None]
) -> None:
    note("paused and culled")
    asked, at = setup.asked(batch_count=3), 2
    events = [*engine.run(asked, plugins, tape=tmp_path / "tape", pause_at=PauseAt(at))]
    assert isinstance(events[-1], Paused) and not images(events)
    assert len(rows_of(tmp_path / "tape")) == 3
    started = next(event for event in events if isinstance(event, Started))
    resume = Resume(Plan.model_validate_json(started.data), skipped_images=frozenset({1}))
    again = [*engine.run(asked, plugins, tape=tmp_path / "tape", resume=resume)]
    assert not [event for event in again if isinstance(event, Warning)]
    first, third = images(again)
    assert (first.index, third.index) == (0, 2)
    assert first.pixel_hash == whole.pixel_hash
    assert third.pixel_hash == only_image([*engine.run(setup.asked(seed=SEED + 2), plugins)]).pixel_hash
    assert third.pixel_hash != first.pixel_hash


def test_what_was_cancelled_leaves_nothing_behind(
    setup: Setup, whole: Image, engine: Engine, plugins: PluginSet, tmp_path: Path, note: Callable[..., None]
) -> None:
    note("cancelled")
    cancel_in_call(engine, plugins, setup.asked(), 2, tmp_path / "tape")
    assert only_image([*engine.run(setup.asked(), plugins)]).pixel_hash == whole.pixel_hash


def test_previews_show_the_picture_as_it_comes_and_do_not_change_it(
    setup: Setup,
    whole: Image,
    engine: Engine,
    plugins: PluginSet,
    monkeypatch: pytest.MonkeyPatch,
    note: Callable[..., None],
) -> None:
    note("previews")
    monkeypatch.setattr("sdterm.engine.tapped.draw.PREVIEW_INTERVAL", 0.0)
    events = [*engine.run(setup.asked(), plugins, previews=True)]
    assert only_image(events).pixel_hash == whole.pixel_hash
    previews = [Picture.open(BytesIO(event.data)) for event in events if isinstance(event, Preview)]
    assert previews
    width, height = whole.width, whole.height
    assert all(abs(each.width / each.height - width / height) < 0.2 for each in previews)
    assert all(np.asarray(each).std() > 1 for each in previews), "it is not one colour"


def test_a_pictures_infotext_draws_it_again(
    setup: Setup, whole: Image, engine: Engine, plugins: PluginSet, note: Callable[..., None]
) -> None:
    note("infotext")
    reading = read(parse(whole.infotext), plugins)
    assert reading.warning is None
    again = only_image([*engine.run(make_request(**reading.fields, model=setup.name), plugins)])
    assert again.pixel_hash == whole.pixel_hash
    assert parse(again.infotext) == parse(whole.infotext)


def test_a_lora_is_applied_as_the_pipeline_does_it_and_leaves_no_trace(
    setup: Setup,
    whole: Image,
    engine: Engine,
    plugins: PluginSet,
    root: Path,
    folder: Folder,
    note: Callable[..., None],
) -> None:
    from tests.pipelines.building import lora

    pipeline, path = loaded(setup, folder(setup.name)), root / LORAS / f"lora-{setup.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    lora(pipeline, path)
    asked = setup.asked(prompt=f"{PROMPT}<lora:{path.stem}:0.75>")
    if not hasattr(pipeline, "load_lora_weights"):
        note("LoRA", "refused by name")
        *_, last = engine.run(asked, plugins)
        assert isinstance(last, Failed) and path.stem in last.message
        return
    note("LoRA")
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="a")
    pipeline.set_adapters(["a"], [0.75])
    with_it = only_image([*engine.run(asked, plugins)])
    assert np.array_equal(pixels(with_it.data), drawn_by(pipeline, setup.call))
    assert with_it.pixel_hash != whole.pixel_hash
    assert only_image([*engine.run(setup.asked(), plugins)]).pixel_hash == whole.pixel_hash


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_folders_of_sdterms_own_families_are_drawn_by_those_unless_a_pipeline_is_named(
    name: str, engine: Engine, plugins: PluginSet, folder: Folder
) -> None:
    folder(name)
    own = next(setup for setup in SETUPS if setup.name == name)
    native = only_image([*engine.run(own.asked(pipeline="", sampler="Euler"), plugins)])
    assert parse(native.infotext).parameters["Sampler"] == "Euler"
    assert "Pipeline" not in parse(native.infotext).parameters
    tapped = only_image([*engine.run(own.asked(), plugins)])
    assert parse(tapped.infotext).parameters["Pipeline"] == "diffusers"

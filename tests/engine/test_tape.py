"""A run stopped anywhere goes on where it was, in another process too."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors import safe_open
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.engine.run import Resume
from sdterm.engine.tape import DENOISER, Row, Tape, checksum, read_records
from sdterm.events import Event, Failed, Image, Resumed, Started, Warning
from sdterm.hooks import Denoised, Sampler
from sdterm.request import make_request
from tests.engine.conftest import EXTENSIONS, images, request
from tests.engine.stopping import cancel_in_call, stop_at_step

SAMPLERS = [sampler.label for sampler in load_plugins(EXTENSIONS).all(Sampler)]
FEW = ["Euler a", "Heun", "DPM++ 2M SDE"]  # of each kind of noise, and of two calls a step
EACH = [pytest.param(label, marks=() if label in FEW else pytest.mark.heavy) for label in SAMPLERS]
STOP_AT = 3  # steps

RESUME = """
import pathlib, sys
from sdterm import Engine, GenerationRequest, load_plugins
from sdterm.core.library.checkpoints import Library
root, extensions, folder = map(pathlib.Path, sys.argv[1:])
engine, plugins = Engine(library=Library(root), device="cpu"), load_plugins(extensions)
for request in sorted(folder.glob("*.json")):
    events = list(engine.run(
        GenerationRequest.model_validate_json(request.read_text()), plugins, tape=request.with_suffix(".tape")))
    for event in events:
        if event.event == "image":
            request.with_suffix(".png").write_bytes(event.data)
    request.with_suffix(".events").write_text("\\n".join(event.model_dump_json() for event in events))
"""


def only_image(events: list[Event]) -> Image:
    assert not [event for event in events if isinstance(event, Failed)], events
    (image,) = images(events)
    return image


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(data))).astype(int)


@pytest.fixture(scope="module")
def resumed(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    engine: Engine,
    plugins: PluginSet,
    root: Path,
) -> Iterator[dict[str, tuple[Image, bytes, list[dict[str, Any]]]]]:
    """Samplers: a whole run's image, and what a new process made of a run that was stopped."""
    folder = tmp_path_factory.mktemp("tapes")
    labels = SAMPLERS if pytestconfig.getoption("--all") else FEW
    whole = {}
    for label in labels:
        asked = request(sampler=label, steps=6)
        whole[label] = only_image(list(engine.run(asked, plugins)))
        (folder / f"{label}.json").write_text(asked.model_dump_json())
        stop_at_step(engine, plugins, asked, STOP_AT, folder / f"{label}.tape")
    environment = os.environ | {"PYTHONPATH": str(EXTENSIONS.parent)}
    command = [sys.executable, "-c", RESUME, str(root), str(EXTENSIONS), str(folder)]
    subprocess.run(command, check=True, env=environment, timeout=300)
    yield {
        label: (
            whole[label],
            (folder / f"{label}.png").read_bytes(),
            [json.loads(line) for line in (folder / f"{label}.events").read_text().splitlines()],
        )
        for label in labels
    }


@pytest.mark.few(1)
@pytest.mark.parametrize("label", EACH)
def test_a_stopped_run_resumed_in_a_new_process_gives_the_bit_identical_image(
    label: str, resumed: dict[str, Any]
) -> None:
    whole, data, _ = resumed[label]
    assert data == whole.data


@pytest.mark.parametrize("label", EACH)
def test_resuming_repeats_no_step_and_says_once_what_came_from_the_tape(label: str, resumed: dict[str, Any]) -> None:
    _, _, events = resumed[label]
    assert [event["event"] for event in events].count("resumed") == 1
    (said,) = [event for event in events if event["event"] == "resumed"]
    assert said["calls"] >= STOP_AT
    steps = [event["step"] for event in events if event["event"] == "step"]
    assert steps[0] >= STOP_AT and steps == sorted(set(steps))


@pytest.mark.parametrize("label", FEW)
def test_resuming_with_another_attention_backend_stays_within_its_promise(
    label: str, engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = request(sampler=label, steps=8)
    whole = only_image(list(engine.run(asked, plugins)))
    stop_at_step(engine, plugins, asked, STOP_AT, tmp_path / "tape")
    lighter = asked.model_copy(update={"memory": ("sliced",)})
    events = list(engine.run(lighter, plugins, tape=tmp_path / "tape"))
    assert [event for event in events if isinstance(event, Resumed)]
    assert plugins.optimizer("sliced").effect == "exact"
    assert np.abs(pixels(only_image(events).data) - pixels(whole.data)).max() <= 1


@pytest.mark.parametrize("label", FEW)
def test_another_checkpoint_starts_the_image_again_and_says_so(
    label: str, engine: Engine, plugins: PluginSet, other_checkpoint: Engine, tmp_path: Path
) -> None:
    asked = request(sampler=label, steps=6)
    stop_at_step(engine, plugins, asked, STOP_AT, tmp_path / "tape")
    events = list(other_checkpoint.run(asked, plugins, tape=tmp_path / "tape"))
    (warning,) = [event for event in events if isinstance(event, Warning)]
    assert warning.code == "tape_restarted" and "checkpoint" in warning.message
    assert not [event for event in events if isinstance(event, Resumed)]
    assert only_image(events).data == only_image(list(other_checkpoint.run(asked, plugins))).data


def test_a_pass_that_begins_with_a_picture_begins_again_where_that_is_decoded_otherwise(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = {"steps": 2, "hires": True, "hires_scale": 2.0, "hires_upscaler": "Lanczos"}
    stop_at_step(engine, plugins, request(**asked), 1, tmp_path / "tape", pass_no=1)
    other = request(**asked, vae_decoder="Approx cheap")
    events = list(engine.run(other, plugins, tape=tmp_path / "tape"))
    (warning,) = [event for event in events if isinstance(event, Warning)]
    assert warning.message == "The job starts again from pass 2: its tape was made with a different VAE."
    assert [event.pass_no for event in events if isinstance(event, Resumed)] == [0]
    assert only_image(events).data == only_image(list(engine.run(other, plugins))).data


def test_of_two_copies_of_a_checkpoint_a_job_goes_on_with_the_one_that_it_began_with(
    plugins: PluginSet, tmp_path: Path
) -> None:
    """Each has its own configuration beside it."""
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    for name in ("one", "two"):
        shutil.copy(EMBEDDED_MODEL, tmp_path / CHECKPOINTS / f"{name}.safetensors")
    config = "model: {params: {parameterization: v, unet_config: {params: {}}}}"
    (tmp_path / CHECKPOINTS / "two.yaml").write_text(config)
    engine, asked = Engine(library=Library(tmp_path), device="cpu"), request(model="two", steps=3)
    (other,) = images(list(engine.run(request(model="one", steps=3), plugins)))
    (whole,) = images(list(engine.run(asked, plugins)))
    assert other.pixel_hash != whole.pixel_hash
    (started,) = [
        event for event in stop_at_step(engine, plugins, asked, 2, tmp_path / "tape") if isinstance(event, Started)
    ]
    resume = Resume(Plan.model_validate_json(started.data))
    rest = [*engine.run(asked, plugins, tape=tmp_path / "tape", resume=resume)]
    assert only_image(rest).pixel_hash == whole.pixel_hash and any(isinstance(event, Resumed) for event in rest)


def rows_of(tape: Path) -> Counter[int]:
    """How often a call of each image was recorded."""
    records = (fields for fields, _, _ in read_records(tape))
    return Counter(fields["image"] for fields in records if fields["kind"] == "row")


def whole_pixels(engine: Engine, plugins: PluginSet, asked: GenerationRequest) -> list[np.ndarray]:
    return [pixels(image.data) for image in images(list(engine.run(asked, plugins)))]


@pytest.mark.heavy
@pytest.mark.parametrize("label", FEW)
def test_a_batch_that_is_split_goes_on_from_its_tape(
    label: str, engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = request(sampler=label, steps=8, batch_size=4)
    whole = whole_pixels(engine, plugins, asked)
    stop_at_step(engine, plugins, asked, STOP_AT, tmp_path / "tape")
    before = rows_of(tmp_path / "tape")
    lighter = asked.model_copy(update={"batch_size": 1, "batch_count": 4})
    events = list(engine.run(lighter, plugins, tape=tmp_path / "tape"))
    assert not [event for event in events if isinstance(event, Warning)]
    assert [e.calls for e in events if isinstance(e, Resumed)] == [before[index] for index in range(4)]
    drawn = [pixels(image.data) for image in images(events)]
    assert max(np.abs(one - other).max() for one, other in zip(drawn, whole, strict=True)) <= 1


@pytest.mark.heavy
def test_images_that_are_not_equally_far_are_drawn_together_and_none_is_begun_again(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = request(sampler="Euler a", steps=8, batch_count=4)
    whole = whole_pixels(engine, plugins, asked)
    cancel_in_call(engine, plugins, asked, 13, tmp_path / "tape")  # the fifth of the second image
    together = asked.model_copy(update={"batch_size": 4, "batch_count": 1})
    events = list(engine.run(together, plugins, tape=tmp_path / "tape"))
    assert not [event for event in events if isinstance(event, Warning)]
    drawn = {image.index: pixels(image.data) for image in images(events)}
    assert list(drawn) == [1, 2, 3]
    assert max(np.abs(drawn[index] - whole[index]).max() for index in drawn) <= 1
    assert rows_of(tmp_path / "tape") == {0: 8, 1: 8, 2: 8, 3: 8}, "each call is computed once"


def test_other_postprocessing_or_another_way_to_decode_keeps_the_samples(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext" / "darker.py").write_text(DARKER)
    plugins = load_plugins(tmp_path / "ext")
    asked = request(steps=6, postprocess=("darker",), options={"darker.by": 10})
    stop_at_step(engine, plugins, asked, STOP_AT, tmp_path / "tape")
    other = asked.model_copy(update={"options": {"darker.by": 90}, "memory": ("vae-tiling",)})
    events = list(engine.run(other, plugins, tape=tmp_path / "tape"))
    assert not [event for event in events if isinstance(event, Warning)]
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.calls >= STOP_AT
    assert only_image(events).data == only_image(list(engine.run(other, plugins))).data


DARKER = """
from sdterm.hooks import Option, Postprocessor, hookimpl

@hookimpl
def sdterm_postprocessors():
    darker = lambda image, rng, by: image // (by // 10)
    return [Postprocessor("darker", "Darker", darker, options=(Option("by", 20, "", 10, 90),))]
"""


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The demo model with one weight changed, under the same name."""
    path = tmp_path_factory.mktemp("other") / EMBEDDED_MODEL.name
    with safe_open(EMBEDDED_MODEL, "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    tensors["model.diffusion_model.out.2.bias"] = tensors["model.diffusion_model.out.2.bias"] + 0.05
    save_file(tensors, path, metadata)
    return Engine(library=Library(path.parent, chosen=path), device="cpu")


def test_the_tape_of_a_long_job_does_not_grow_with_its_finished_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdterm.engine.tape._LONG", 10_000)
    path = tmp_path / "tape"
    tape, sizes = Tape({"request": "x"}, path), []
    for image in range(40):
        tape.start(image, 0, torch.zeros(4, 8, 8))
        for call in range(5):
            x0 = torch.full((4, 8, 8), float(call))
            tape.append(Row(image, 0, DENOISER, call, 1.0, checksum(x0), Denoised(x0, None)))
        if image < 39:
            tape.finish(image)
        sizes.append(path.stat().st_size)
    tape.close()
    assert max(sizes) < 20_000, "40 images have 240,000 bytes of rows"
    again = Tape({"request": "x"}, path)
    assert again.finished() == frozenset(range(39)) and again.recorded(39, 0, DENOISER) == 5 and not again.mismatch
    again.close()


@pytest.mark.heavy  # two processes with torch; tests/host/test_faults.py kills one that draws
def test_a_killed_process_is_resumed_from_its_tape(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    """SIGKILL in the middle of a run of the command line: the next call of the same command finishes the image."""
    command = [sys.executable, "-m", "sdterm", "generate", "blue square, white background", "--json"]
    command += ["--data-dir", str(tmp_path), "--steps", "30", "--sampler", "Euler a", "--tape", str(tmp_path / "tape")]
    environment = os.environ | {"PYTHONPATH": str(EXTENSIONS.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "started":
                seed = event["seed"]
            if event["event"] == "step" and event["step"] == 17:
                process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.glob("outputs/*/*"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (resumed,) = [event for event in events if event["event"] == "resumed"]
    assert resumed["calls"] >= 17
    (image,) = [event for event in events if event["event"] == "image"]
    assert image["seed"] == seed, "a random seed is drawn once"
    (saved,) = tmp_path.glob("outputs/*/*.png")
    asked = make_request(prompt="blue square, white background", steps=30, sampler="Euler a", seed=seed)
    (whole,) = whole_pixels(engine, plugins, asked)
    assert np.array_equal(pixels(saved.read_bytes()), whole)


def test_finished_images_of_a_stopped_job_are_not_drawn_again(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    asked = request(batch_count=3)
    events = engine.run(asked, plugins, tape=tmp_path / "tape")
    first = next(event for event in events if isinstance(event, Image))
    next(events)  # whoever reads on has the image
    events.close()
    rest = images(list(engine.run(asked, plugins, tape=tmp_path / "tape")))
    assert first.index == 0
    assert [image.index for image in rest] == [1, 2]


def test_a_torn_tape_loses_only_its_torn_end(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    asked = request(sampler="Euler a", steps=8, batch_size=2)
    whole = images(list(engine.run(asked, plugins)))
    stop_at_step(engine, plugins, asked, 5, tape)
    tape.write_bytes(tape.read_bytes()[:-100])
    events = list(engine.run(asked, plugins, tape=tape))
    assert [event for event in events if isinstance(event, Resumed)]
    assert [image.data for image in images(events)] == [image.data for image in whole]


def test_a_damaged_row_and_all_behind_it_are_computed_again(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    asked = request(steps=8)
    whole = only_image(list(engine.run(asked, plugins)))
    stop_at_step(engine, plugins, asked, 6, tape)
    content = bytearray(tape.read_bytes())
    content[len(content) // 2] ^= 0xFF
    tape.write_bytes(content)
    assert only_image(list(engine.run(asked, plugins, tape=tape))).data == whole.data


def test_a_file_that_is_no_tape_is_left_alone(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear reader")
    *_, last = engine.run(request(), plugins, tape=tmp_path / "letter")
    assert isinstance(last, Failed) and last.code == "tape_unusable"
    assert (tmp_path / "letter").read_text() == "dear reader"


def test_a_row_is_served_only_to_the_same_call() -> None:
    x = torch.randn(4, 8, 8)
    row = Row(0, 0, DENOISER, 0, 1.5, checksum(x), Denoised(torch.zeros(4, 8, 8), None))
    assert row.answers(x, 1.5)
    assert not row.answers(x, 1.25)
    assert not row.answers(x + 1e-7, 1.5)


def test_rows_survive_in_their_exact_dtype_with_the_unguided_output(tmp_path: Path) -> None:
    tape = Tape({"v": 1}, tmp_path / "tape")
    result = Denoised(torch.randn(4, 8, 8, dtype=torch.float64), torch.randn(4, 8, 8).half())
    tape.append(Row(2, 0, DENOISER, 5, 0.25, "00", result))
    tape.go_float32(1, 0, DENOISER, 3)
    tape.close()
    again = Tape({"v": 1}, tmp_path / "tape")
    row = again.row(2, 0, DENOISER, 5)
    assert row and torch.equal(row.result.x0, result.x0) and row.result.x0.dtype == torch.float64
    assert row.result.uncond is not None and result.uncond is not None
    assert torch.equal(row.result.uncond, result.uncond)
    assert again.is_float32(1, 0) and not again.mismatch
    again.close()
    other = Tape({"v": 2}, tmp_path / "tape")
    assert other.mismatch == ("v",)
    other.close()


def test_what_changes_a_later_pass_costs_no_rows_of_those_before_it(tmp_path: Path) -> None:
    path, x0 = tmp_path / "tape", torch.randn(4, 8, 8)
    tape = Tape({"v": 1}, path, [{"sampler": "a"}, {"sampler": "b"}])
    for pass_no in (0, 1):
        tape.start(0, pass_no, x0)
        tape.append(Row(0, pass_no, DENOISER, 0, 1.0, checksum(x0), Denoised(x0 + pass_no, None)))
    tape.go_float32(0, 0, DENOISER, 1)
    tape.close()
    for _ in range(2):  # what was kept is written anew, and read again
        again = Tape({"v": 1}, path, [{"sampler": "a"}, {"sampler": "c"}])
        row = again.row(0, 0, DENOISER, 0)
        assert row and torch.equal(row.result.x0, x0) and again.is_float32(0, 0)
        assert again.recorded(0, 1, DENOISER) == 0
        again.start(0, 0, x0)
        assert again.recorded(0, 0, DENOISER) == 1, "it is the start that these rows have"
        again.close()
    more = Tape({"v": 1}, path, [{"sampler": "a"}])
    assert more.recorded(0, 0, DENOISER) == 1 and not more.mismatch
    more.close()
    other = Tape({"v": 1}, path, [{"sampler": "d"}, {"sampler": "c"}])
    assert other.mismatch == ("sampler",) and (other.kept, other.recorded(0, 0, DENOISER)) == (0, 0)
    other.close()


def test_a_job_that_goes_on_draws_what_its_owner_does_not_have(
    engine: Engine, plugins: PluginSet, tmp_path: Path
) -> None:
    """Whatever the tape notes as delivered."""
    asked = GenerationRequest(prompt="x", seed=5, steps=2, width=64, height=64)
    first = list(engine.run(asked, plugins, tape=tmp_path / "tape"))
    started = next(event for event in first if isinstance(event, Started))
    resume = Resume(Plan.model_validate_json(started.data))
    again = list(engine.run(asked, plugins, tape=tmp_path / "tape", resume=resume))
    assert only_image(again).pixel_hash == only_image(first).pixel_hash


def test_the_rows_of_passes_and_modules_are_kept_apart(tmp_path: Path) -> None:
    tape = Tape({"v": 1}, tmp_path / "tape")
    for pass_no, module in ((0, DENOISER), (1, DENOISER), (1, "refiner")):
        tape.start(0, pass_no, torch.full((4, 8, 8), float(pass_no)))
        for call in range(3):
            x0 = torch.full((4, 8, 8), 10.0 * pass_no + call)
            tape.append(Row(0, pass_no, module, call, 1.0, checksum(x0), Denoised(x0, None)))
    tape.cut(0, 1, DENOISER, 1)
    tape.go_float32(0, 1, "refiner", 2)
    tape.close()
    again = Tape({"v": 1}, tmp_path / "tape")
    kinds = ((0, DENOISER), (1, DENOISER), (1, "refiner"))
    assert [again.recorded(0, *of) for of in kinds] == [3, 1, 2]
    assert again.is_float32(0, 1) and not again.is_float32(0, 0)
    again.start(0, 1, torch.zeros(4, 8, 8))
    assert [again.recorded(0, *of) for of in ((0, DENOISER), (1, DENOISER), (1, "refiner"))] == [3, 0, 0], (
        "another start"
    )
    again.close()


def test_a_tape_of_an_older_sdterm_starts_again_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "tape").write_bytes(b"sdterm tape 1\n" + bytes(100))
    tape = Tape({"v": 1}, tmp_path / "tape")
    assert tape.mismatch == ("version of sdterm",)
    tape.close()
    again = Tape({"v": 1}, tmp_path / "tape")
    assert not again.mismatch
    again.close()

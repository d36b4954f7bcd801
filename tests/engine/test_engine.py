"""What a run promises: seeds, batches, events, cancelling, previews, and never a black picture."""

import hashlib
import threading
from copy import copy, deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors import safe_open
from safetensors.torch import save_file

from sdterm import Engine, PluginSet, load_plugins
from sdterm.core.comparison import compare
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.plan import Plan
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.engine import engine as engine_module
from sdterm.engine.loading import set_aside, weights
from sdterm.engine.run import Resume
from sdterm.engine.tape import read_records
from sdterm.events import (
    Done,
    Event,
    Failed,
    Image,
    ModelLoading,
    Preview,
    Resumed,
    Started,
    Step,
    Warning,
)
from tests.engine.conftest import images, request
from tests.engine.stopping import stop_at_step
from tests.engine.test_tape import only_image, pixels


def changed_model(path: Path, **changes: torch.Tensor | float) -> Path:
    """A copy of the embedded model with tensors scaled (by a number) or replaced."""
    with safe_open(EMBEDDED_MODEL, "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    for key, change in changes.items():
        tensors[key] = tensors[key].float() * change if isinstance(change, float) else change
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
    return path


def test_a_run_is_one_stream_of_events_that_ends_with_done(root: Path, plugins: PluginSet) -> None:
    fresh = Engine(library=Library(root), device="cpu")
    events = [*fresh.run(request(steps=3), plugins)]
    kinds = [type(event) for event in events if getattr(event, "fraction", None) is None]  # how far, if it takes long
    assert kinds == [Started, ModelLoading, ModelLoading, Step, Step, Step, Image, Done]
    assert ModelLoading not in [type(event) for event in fresh.run(request(steps=1), plugins)]


def test_a_model_read_beforehand_is_drawn_with_and_reading_tells_how_far_it_is(
    root: Path, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Engine(library=Library(root), device="cpu")
    events: list[Event] = []
    monkeypatch.setattr("sdterm.engine.loading.TOLD_EVERY", 0.0)
    fresh.preload(request(), plugins, events.append)
    first, *middle, last = [event for event in events if isinstance(event, ModelLoading)]
    assert (first.done, first.fraction, last.done, last.fraction) == (False, None, True, None)
    fractions = [event.fraction or 0.0 for event in middle]
    assert len(middle) > 100 and fractions == sorted(fractions) and 0 < fractions[0] < 0.1 and 0.9 < fractions[-1] <= 1
    assert ModelLoading not in [type(event) for event in fresh.run(request(steps=1), plugins)]
    again: list[Event] = []
    fresh.preload(request(), plugins, again.append)
    assert again == [ModelLoading(model=first.model, done=True)], "it is there"


@pytest.mark.heavy
def test_as_many_models_stay_in_memory_as_it_is_told_the_latest_used_first(tmp_path: Path, plugins: PluginSet) -> None:
    for name, scale in (("one", 0.9), ("two", 0.8), ("three", 0.7)):
        (tmp_path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        changed_model(tmp_path / CHECKPOINTS / f"{name}.safetensors", **{"model.diffusion_model.out.2.weight": scale})
    keeping, forgetting = (Engine(library=Library(tmp_path), device="cpu", models=models) for models in (2, 1))

    def draw(engine: Engine, name: str) -> tuple[list[bool], bytes]:
        """Whether a model was read (False, then True) or only switched to (True); the picture."""
        events = [*engine.run(request(steps=1, model=name), plugins)]
        told = [event for event in events if isinstance(event, ModelLoading) and event.fraction is None]
        return [event.done for event in told], only_image(events).data

    read, switched = [False, True], [True]
    _, one = draw(keeping, "one")
    assert draw(keeping, "two")[0] == read
    assert draw(keeping, "one") == (switched, one)
    assert draw(keeping, "one") == ([], one)
    assert draw(keeping, "three")[0] == read, "two makes way, which was used before one"
    assert draw(keeping, "one") == (switched, one)
    assert draw(keeping, "two")[0] == read
    draw(forgetting, "one"), draw(forgetting, "two")
    assert draw(forgetting, "one") == (read, one)
    keeping.unload()
    assert draw(keeping, "two")[0] == read


def test_two_models_whose_names_differ_in_a_dash_draw_their_own_pictures_also_when_a_job_goes_on(
    plugins: PluginSet, tmp_path: Path
) -> None:
    folder = tmp_path / CHECKPOINTS
    folder.mkdir(parents=True)
    for name, change in (("a-b", 1.0), ("a_b", 1.05)):
        changed_model(folder / f"{name}.safetensors", **{"model.diffusion_model.out.2.weight": change})
    both = Engine(library=Library(tmp_path), device="cpu")

    drawn = {}
    for name in ("a-b", "a_b"):
        events = list(both.run(request(steps=2, model=name), plugins))
        plan = next(Plan.model_validate_json(event.data) for event in events if isinstance(event, Started))
        drawn[name] = only_image(events).pixel_hash, plan
    assert drawn["a-b"][0] != drawn["a_b"][0]
    (tmp_path / "cache" / "hashes.json").unlink()
    for pixel_hash, plan in drawn.values():
        again = both.run(plan.request, plugins, resume=Resume(plan))
        assert only_image(list(again)).pixel_hash == pixel_hash


def test_closing_the_events_ends_the_run(engine: Engine, plugins: PluginSet, tmp_path: Path) -> None:
    before = threading.active_count()
    events = engine.run(request(steps=500), plugins, tape=tmp_path / "tape")
    next(event for event in events if isinstance(event, Step))
    events.close()
    assert threading.active_count() == before
    rows = sum(fields["kind"] == "row" for fields, _, _ in read_records(tmp_path / "tape"))
    assert 0 < rows < 250, "it does not go on to the last of 500 steps"


def test_a_run_that_ended_by_itself_leaves_the_cancel_event_for_the_next_one(
    engine: Engine, plugins: PluginSet
) -> None:
    cancel = threading.Event()
    for _ in range(2):
        assert isinstance([*engine.run(request(steps=1), plugins, cancel=cancel)][-1], Done)
        assert not cancel.is_set()
    events = engine.run(request(steps=500), plugins, cancel=cancel)
    next(events)
    events.close()
    assert cancel.is_set(), "closing a run before its end is cancelling it"


def test_styles_are_those_of_one_run(engine: Engine, plugins: PluginSet) -> None:
    asked = request(steps=1, styles=("night",))
    image = only_image(list(engine.run(asked, plugins, styles={"night": ("{prompt}, by night", "")})))
    assert image.prompt == f"{asked.prompt}, by night"
    *_, last = engine.run(asked, plugins)
    assert isinstance(last, Failed) and "no style named 'night'" in last.message


@pytest.mark.heavy
def test_a_run_waits_for_a_reader_that_is_far_behind(
    engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setattr(engine_module, "AHEAD", 4)
    events = engine.run(request(steps=60), plugins)
    next(event for event in events if isinstance(event, Step))
    monkeypatch.undo()
    list(Engine(library=Library(root), device="cpu").run(request(steps=30), plugins))  # time enough for as many calls
    assert engine.pulse.call < 20
    assert isinstance([*events][-1], Done), "it goes on when it is read"


def test_a_random_seed_is_reported_and_draws_the_same_picture_again(engine: Engine, plugins: PluginSet) -> None:
    drawn = only_image(list(engine.run(request(seed=-1), plugins)))
    assert 0 <= drawn.seed <= 4294967293
    assert only_image(list(engine.run(request(seed=drawn.seed), plugins))).data == drawn.data
    assert f"Seed: {drawn.seed}," in drawn.infotext


def test_the_same_request_gives_the_same_bytes_and_another_seed_another_picture(
    engine: Engine, plugins: PluginSet
) -> None:
    first, second, other = (only_image(list(engine.run(request(seed=s), plugins))) for s in (3, 3, 4))
    assert first.data == second.data != other.data


def test_an_image_tells_its_prompt_and_the_hash_of_its_pixels_whatever_the_format(
    engine: Engine, plugins: PluginSet
) -> None:
    png, jpeg = (only_image(list(engine.run(request(prompt="cat # tail", format=f), plugins))) for f in ("png", "jpeg"))
    assert png.pixel_hash == hashlib.sha256(Picture.open(BytesIO(png.data)).tobytes()).hexdigest() == jpeg.pixel_hash
    assert png.prompt.strip() == "cat"


def test_an_unset_size_is_the_models_native_size(engine: Engine, plugins: PluginSet) -> None:
    image = only_image(list(engine.run(request(width=None, height=None, steps=1), plugins)))
    assert (image.width, image.height) == (128, 128) == Picture.open(BytesIO(image.data)).size


def test_prompt_and_negative_run_apart_give_the_same_picture_as_together(engine: Engine, plugins: PluginSet) -> None:
    asked = request(negative_prompt="night", steps=6)
    together = only_image(list(engine.run(asked, plugins)))
    apart = only_image(list(engine.run(asked.model_copy(update={"batch_cond_uncond": False}), plugins)))
    assert np.abs(pixels(together.data) - pixels(apart.data)).max() <= 1


def test_guidance_and_negative_prompt_and_clip_skip_change_the_picture(engine: Engine, plugins: PluginSet) -> None:
    changes: tuple[dict[str, object], ...] = (
        {},
        {"cfg_scale": 1.0},
        {"negative_prompt": "red"},
        {"clip_skip": 2},
        {"prompt": "snow, night"},
    )
    drawn = [only_image(list(engine.run(request(steps=6, **change), plugins))).data for change in changes]
    assert len(set(drawn)) == len(drawn)


def test_at_cfg_1_the_negative_prompt_has_no_weight(engine: Engine, plugins: PluginSet) -> None:
    plain, negative = (
        only_image(list(engine.run(request(cfg_scale=1.0, negative_prompt=text), plugins))) for text in ("", "night")
    )
    assert np.array_equal(pixels(plain.data), pixels(negative.data))


def test_prompts_of_several_chunks_are_drawn(engine: Engine, plugins: PluginSet) -> None:
    long = ", ".join(["red house", "snow", "pine trees"] * 40)
    assert only_image(list(engine.run(request(prompt=long, steps=2), plugins)))


def test_previews_are_small_pictures_that_resemble_the_result(
    engine: Engine, plugins: PluginSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdterm.engine.sample.PREVIEW_INTERVAL", 0.0)
    asked = request(prompt="sunset, lake", steps=12, width=128, height=128)
    events = list(engine.run(asked, plugins, previews=True))
    previews = [event for event in events if isinstance(event, Preview)]
    assert len(previews) == 12 and all(len(preview.data) <= 8192 for preview in previews)
    preview = Picture.open(BytesIO(previews[-1].data)).convert("RGB")
    result = Picture.open(BytesIO(only_image(events).data)).resize(preview.size, Picture.Resampling.BOX)
    difference = np.abs(np.asarray(preview).astype(int) - np.asarray(result).astype(int)).mean()
    assert preview.size == (16, 16) and difference < 25
    assert not [e for e in engine.run(asked, plugins) if isinstance(e, Preview)]


def overflowing(folder: Path) -> Engine:
    """With an attention whose values exceed float16's 65504 and whose output weights take them back: the same function
    in float32, NaN in float16."""
    block = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1."
    changes = {f"{block}to_v.weight": 3e5, f"{block}to_out.0.weight": 1 / 3e5}
    path = changed_model(folder / "hot.safetensors", **changes)
    return Engine(library=Library(folder, chosen=path), device="cpu")


@pytest.mark.heavy  # a CPU encodes slowly in float16
def test_an_init_image_is_encoded_alike_when_a_run_goes_on_in_float32(tmp_path: Path, plugins: PluginSet) -> None:
    engine, buffer = overflowing(tmp_path), BytesIO()
    Picture.effect_noise((64, 64), 60).convert("RGB").save(buffer, "PNG")
    init = Inputs(tmp_path).put(buffer.getvalue())
    made = request(precision="half", init_images=(init,), denoising_strength=0.9, steps=6)
    whole = only_image(list(engine.run(made, plugins)))
    stop_at_step(engine, plugins, made, 3, tmp_path / "tape")
    again = list(engine.run(made, plugins, tape=tmp_path / "tape"))
    assert any(isinstance(event, Resumed) and event.calls >= 3 for event in again)
    assert only_image(again).pixel_hash == whole.pixel_hash


def test_what_overflows_in_half_precision_is_finished_in_float32(tmp_path: Path, plugins: PluginSet) -> None:
    engine = overflowing(tmp_path)
    half = list(engine.run(request(precision="half"), plugins))
    full = only_image(list(engine.run(request(precision="full"), plugins)))
    (warning,) = [event for event in half if isinstance(event, Warning)]
    assert warning.code == "float32"
    assert np.abs(pixels(only_image(half).data) - pixels(full.data)).max() <= 1


@pytest.mark.heavy
def test_bf16_draws_nearly_the_same_picture_and_says_so(engine: Engine, plugins: PluginSet) -> None:
    full = only_image(list(engine.run(request(steps=8), plugins)))
    bf16 = only_image(list(engine.run(request(steps=8, precision="bf16"), plugins)))
    assert "dtype=bfloat16" in bf16.infotext
    assert 25 < compare(pixels(full.data), pixels(bf16.data)).psnr < 70
    assert only_image(list(engine.run(request(steps=8), plugins))).pixel_hash == full.pixel_hash


def test_a_second_picture_with_another_prompt_reads_and_encodes_only_that(engine: Engine, plugins: PluginSet) -> None:
    list(engine.run(request(prompt="a dog", negative_prompt="blurry"), plugins))
    assert engine.model
    encoded: list[int] = []
    encoder = engine.model.components.modules["text_encoder"]
    watch = encoder.register_forward_hook(lambda module, given, made: encoded.append(1))
    try:
        events = list(engine.run(request(prompt="a cat", negative_prompt="blurry"), plugins))
        assert (len(encoded), [e for e in events if isinstance(e, ModelLoading)]) == (1, [])
        list(engine.run(request(prompt="a dog", negative_prompt="blurry", seed=9), plugins))
        list(engine.run(request(prompt="a cat", negative_prompt="blurry", width=128), plugins))
        assert len(encoded) == 1, "SD 1 is told no size: its texts are the same for all"
    finally:
        watch.remove()


DIM = """
import torch
from sdterm.hooks import Conditioning, ModelFamily, ModelMatch, hookimpl
from sdterm.modelling.predictions import from_eps
from sdterm.modelling.sampling import discrete_sampling

class Vae(torch.nn.Module):  # its sums exceed float16's 65504 where latents are large
    def __init__(self, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((3, 4), 3e4, dtype=dtype), requires_grad=False)

    def forward(self, latents):
        sums = torch.einsum("oc,bchw->bohw", self.weight, latents)
        return (sums - sums.mean()) / 1e5

class Dim:
    latent_channels, downscale = 4, 8
    latent_rgb = ([[1, 0, 0]] * 4, [0, 0, 0])

    def __init__(self, device, dtype):
        self.device, self.dtype, self.modules = device, dtype, {"vae": Vae(dtype)}

    def sampling(self, options):
        return discrete_sampling(torch.linspace(0.999, 0.01, 1000), options)

    def encode(self, texts, options):
        return Conditioning({"context": torch.zeros(len(texts), 77, 8, dtype=self.dtype)})

    def denoise(self, x, sigma, cond, sampling):
        return from_eps(lambda x, t: x * 0.9, x, sigma, sampling, self.dtype)

    def decode(self, latents):
        return self.modules["vae"](latents).repeat_interleave(8, 2).repeat_interleave(8, 3)

@hookimpl
def sdterm_model_families():
    known = lambda reader: ModelMatch(native_size=64) if "dim" in reader.shapes() else None
    return [ModelFamily("dim", "Dim", known, lambda reader, *how: Dim(*how))]
"""


def test_an_image_that_half_precision_makes_black_is_decoded_in_float32_and_those_beside_it_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "dim.py").write_text(DIM)
    save_file({"dim": torch.zeros(1)}, tmp_path / "dim.safetensors")
    plugins = load_plugins(tmp_path)
    engine = Engine(library=Library(tmp_path, chosen=tmp_path / "dim.safetensors"), device="cpu")
    singles, black = [], []
    for seed in range(8):
        events = list(engine.run(request(seed=seed, precision="half"), plugins))
        image = only_image(events)
        singles.append(image.pixel_hash)
        black.append([e.code for e in events if isinstance(e, Warning)] == ["float32"])
        assert ("vae=float32" in image.infotext, "dtype=float16" in image.infotext) == (black[-1], True)
    assert {True, False} == {*black}, "the test needs some of both"
    batches = list(engine.run(request(seed=0, precision="half", batch_size=4, batch_count=2), plugins))
    assert [image.pixel_hash for image in images(batches)] == singles
    assert ["vae=float32" in image.infotext for image in images(batches)] == black
    assert not [event for event in batches if isinstance(event, ModelLoading)], "nothing is read to decode"


@pytest.mark.parametrize("key", ["model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_out.weight"])
def test_what_is_not_a_number_even_in_float32_fails_and_saves_nothing(
    key: str, tmp_path: Path, plugins: PluginSet
) -> None:
    path = changed_model(tmp_path / "broken.safetensors", **{key: float("nan")})
    engine = Engine(library=Library(tmp_path, chosen=path), device="cpu")
    events: list[Event] = list(engine.run(request(), plugins))
    assert isinstance(events[-1], Failed) and events[-1].code == "not_a_number" and events[-1].advice
    assert not images(events)


def test_an_entirely_black_picture_is_a_failure(tmp_path: Path, plugins: PluginSet) -> None:
    black = {"first_stage_model.decoder.conv_out.weight": 0.0}
    path = changed_model(
        tmp_path / "black.safetensors", **black, **{"first_stage_model.decoder.conv_out.bias": torch.full((3,), -9.0)}
    )
    *_, last = Engine(library=Library(tmp_path, chosen=path), device="cpu").run(request(), plugins)
    assert isinstance(last, Failed) and "black" in last.message


def test_vae_tiling_draws_nearly_the_same_picture(engine: Engine, plugins: PluginSet) -> None:
    asked = request(prompt="lake, sunset", width=640, height=64, steps=4)
    plain = only_image(list(engine.run(asked, plugins)))
    tiled = only_image(list(engine.run(asked.model_copy(update={"memory": ("vae-tiling",)}), plugins)))
    again = only_image(list(engine.run(asked, plugins)))
    assert plain.data == again.data != tiled.data
    assert np.abs(pixels(plain.data) - pixels(tiled.data)).mean() < 3


def test_half_of_the_truth_about_a_model_is_refused(tmp_path: Path, plugins: PluginSet) -> None:
    """Right names, wrong shapes; and a tensor too few."""
    wrong = {"model.diffusion_model.time_embed.2.weight": torch.zeros(3, 3)}
    path = changed_model(tmp_path / "wrong.safetensors", **wrong)
    *_, last = Engine(library=Library(tmp_path, chosen=path), device="cpu").run(request(), plugins)
    assert isinstance(last, Failed) and "time_embed.2.weight" in last.message and "(3, 3)" in last.message
    with safe_open(EMBEDDED_MODEL, "pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys() if "out.2.bias" not in key}
        save_file(kept, tmp_path / "short.safetensors", file.metadata())
    short = Library(tmp_path, chosen=tmp_path / "short.safetensors")
    *_, last = Engine(library=short, device="cpu").run(request(), plugins)
    assert isinstance(last, Failed) and "lacks the tensor" in last.message


def test_the_engine_draws_again_after_every_kind_of_failure(engine: Engine, plugins: PluginSet) -> None:
    before = only_image(list(engine.run(request(), plugins))).data
    for bad in ({"sampler": "nonsense"}, {"model": "nonsense"}, {"styles": ("nonsense",)}, {"format": "nonsense"}):
        *_, last = engine.run(request(**bad), plugins)
        assert isinstance(last, Failed) and last.code == "bad_request" and "nonsense" in last.message
    assert only_image(list(engine.run(request(), plugins))).data == before


def test_a_model_that_is_not_in_use_leaves_the_device_and_comes_back(engine: Engine, plugins: PluginSet) -> None:
    """On a device that keeps nothing: numbers are not there, but where everything went is."""
    list(engine.run(request(), plugins))
    assert engine.model
    there = torch.device("meta")
    components = copy(engine.model.components)
    components.modules = {name: deepcopy(module) for name, module in components.modules.items()}
    components.device = torch.device("cpu")
    model = replace(engine.model, components=components)
    aside = set_aside(model, there)
    assert aside.aside and {
        weight.device for part in aside.components.modules.values() for weight in weights(part)
    } == {there}
    assert not set_aside(replace(model), there).aside, "parts of it lie elsewhere already, as an optimizer wants it"
    assert set_aside(engine.model, torch.device("cpu")) is engine.model

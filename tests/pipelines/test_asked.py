"""What is asked of a pipeline reaches its call, and the pixels are those of diffusers' own."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

from sdterm import Engine, GenerationRequest, PluginSet, load_plugins
from sdterm.core.infotext.recall import recall
from sdterm.core.inputs import Inputs
from sdterm.core.library.checkpoints import Library
from sdterm.core.settings.paths import CHECKPOINTS
from sdterm.engine.run import PauseAt
from sdterm.events import Event, Failed, Image, Paused, Preview, Warning
from sdterm.plugins.pipelines import DIFFUSERS
from sdterm.request import make_request
from tests.later import Later
from tests.pipelines.building import SIZE, build, lora

diffusers: Any = Later("diffusers")
WIDTH, HEIGHT = SIZE
STEPS, SEED = 3, 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("asked")
    (data / CHECKPOINTS).mkdir(parents=True)
    build("flux", data / CHECKPOINTS / "flux")
    return data


@pytest.fixture(scope="module")
def plugins() -> PluginSet:
    return load_plugins(third_party=False)


@pytest.fixture(scope="module")
def engine(root: Path) -> Engine:
    return Engine(library=Library(root), device="cpu")


@pytest.fixture(scope="module")
def pipe(root: Path) -> Any:
    found = diffusers.FluxPipeline.from_pretrained(root / CHECKPOINTS / "flux")
    found.set_progress_bar_config(disable=True)
    return found


def asked(**fields: Any) -> GenerationRequest:
    small = {"prompt": "a red house", "model": "flux", "seed": SEED, "steps": STEPS, "width": WIDTH, "height": HEIGHT}
    return GenerationRequest.model_validate({**small, **fields})


def drawn(engine: Engine, plugins: PluginSet, **fields: Any) -> tuple[Image, list[Event]]:
    events = [*engine.run(asked(**fields), plugins, previews=True)]
    assert not isinstance(events[-1], Failed), events[-1]
    image, *_ = (event for event in events if isinstance(event, Image))
    return image, events


def pixels(image: Image) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(image.data)).convert("RGB"))


def own(pipe: Any, **more: Any) -> np.ndarray:
    """The pixels of diffusers' own call."""
    call = {"prompt": "a red house", "width": WIDTH, "height": HEIGHT, "num_inference_steps": STEPS} | more
    (image,) = pipe(**call, generator=torch.Generator().manual_seed(SEED)).images
    return np.asarray(image)


def test_options_and_guidance_reach_the_call(engine: Engine, plugins: PluginSet, pipe: Any) -> None:
    options = {"true_cfg_scale": 2.0, "max_sequence_length": 16, "prompt_2": "blue"}
    image, _ = drawn(engine, plugins, cfg_scale=1.5, negative_prompt="fog", pipeline_options=options)
    same = own(pipe, guidance_scale=1.5, negative_prompt="fog", **options)
    assert np.array_equal(pixels(image), same)
    assert not np.array_equal(same, own(pipe))


def test_what_is_unset_is_the_pipelines_own_and_stands_in_the_infotext(
    engine: Engine, plugins: PluginSet, root: Path, pipe: Any
) -> None:
    image, _ = drawn(engine, plugins, pipeline_options={"max_sequence_length": 16})
    assert np.array_equal(pixels(image), own(pipe, max_sequence_length=16))
    for said in ("CFG scale: 3.5", "Sampler: FlowMatchEulerDiscrete", "Pipeline: diffusers", "max_sequence_length=16"):
        assert said in image.infotext
    assert "RNG" not in image.infotext and "Clip skip" not in image.infotext
    recalled = recall(image.infotext, plugins, Library(root), {})
    assert not recalled.warnings
    (again,) = (event for event in engine.run(make_request(**recalled.fields), plugins) if isinstance(event, Image))
    assert again.pixel_hash == image.pixel_hash and again.infotext == image.infotext


def test_another_scheduler_steps_it_and_its_own_does_afterwards(engine: Engine, plugins: PluginSet, pipe: Any) -> None:
    plain, _ = drawn(engine, plugins)
    image, _ = drawn(engine, plugins, sampler="UniPCMultistep")
    before = pipe.scheduler
    try:
        pipe.scheduler = diffusers.UniPCMultistepScheduler.from_config(
            before.config,
            use_flow_sigmas=True,
            prediction_type="flow_prediction",
            flow_shift=before.config.shift,
        )
        assert np.array_equal(pixels(image), own(pipe))
    finally:
        pipe.scheduler = before
    assert drawn(engine, plugins)[0].pixel_hash == plain.pixel_hash != image.pixel_hash


def test_init_image_and_mask_go_to_the_pipelines_that_diffusers_maps_it_to(
    engine: Engine, plugins: PluginSet, root: Path, pipe: Any
) -> None:
    ramp = np.linspace(0, 255, WIDTH * HEIGHT * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    hole = np.zeros((HEIGHT, WIDTH), np.uint8)
    hole[:, WIDTH // 2 :] = 255
    init, mask = (Picture.fromarray(each) for each in (ramp, hole))
    inputs = Inputs(root)
    digests = [inputs.put(_png(each)) for each in (init, mask)]
    begun = {"init_images": (digests[0],), "denoising_strength": 0.7}
    image, _ = drawn(engine, plugins, **begun)
    img2img = diffusers.FluxImg2ImgPipeline.from_pipe(pipe)
    assert np.array_equal(pixels(image), own(img2img, image=init, strength=0.7, guidance_scale=3.5))
    options = {"mask": digests[1], "mask_blur_x": 0, "mask_blur_y": 0, "overlay_original": False}
    image, _ = drawn(engine, plugins, **begun, **options, masked_content="original")
    inpaint = diffusers.FluxInpaintPipeline.from_pipe(pipe)
    assert np.array_equal(pixels(image), own(inpaint, image=init, mask_image=mask, strength=0.7, guidance_scale=3.5))


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Already found")  # of peft, that there is another
def test_loras_are_put_on_by_the_pipelines_own_loader_and_taken_off_exactly(
    engine: Engine, plugins: PluginSet, root: Path, pipe: Any
) -> None:
    plain, _ = drawn(engine, plugins)
    folder = root / "models" / "Lora"
    folder.mkdir(parents=True)
    first, second = (lora(pipe, folder / f"{name}.safetensors", rank) for name, rank in (("one", 2), ("two", 3)))
    image, _ = drawn(engine, plugins, prompt="a red house <lora:one:0.5> <lora:two:-1>")
    for path, name in ((first, "one"), (second, "two")):
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    try:
        pipe.set_adapters(["one", "two"], [0.5, -1.0])
        assert np.array_equal(pixels(image), own(pipe, prompt="a red house "))
    finally:
        pipe.unload_lora_weights()
    assert "Lora hashes" in image.infotext
    assert drawn(engine, plugins)[0].pixel_hash == plain.pixel_hash != image.pixel_hash
    save_file({"unet.mid_block.lora_A.weight": torch.zeros(2, 8)}, folder / "other.safetensors")
    refused = [*engine.run(asked(prompt="a <lora:other:1>"), plugins)][-1]
    assert isinstance(refused, Failed) and "other" in refused.message and "FluxPipeline" in refused.message
    layers = {f"layers.{n}.attention.to_q": torch.zeros(2, 8) for n in range(50)}
    strange = {f"transformer.{key}.lora_{side}.weight": zeros.clone() for key, zeros in layers.items() for side in "AB"}
    narrow = {f"transformer.transformer_blocks.0.attn.to_q.lora_{side}.weight": torch.zeros(3, 3) for side in "AB"}
    for weights, why in ((strange, "no layer attention.to_q"), (narrow, "attn.to_q has a different shape")):
        save_file(weights, folder / "other.safetensors")
        refused = [*engine.run(asked(prompt="a <lora:other:1>"), plugins)][-1]
        assert isinstance(refused, Failed) and not refused.advice, "it is no plugin's fault"
        assert f"{why}. It is made for another model: remove it." in refused.message and "…" not in refused.message
    single, _ = drawn(engine, plugins, prompt="a red house <lora:one:0.5>")
    assert single.pixel_hash not in (plain.pixel_hash, image.pixel_hash)


def test_previews_show_the_picture_that_comes(engine: Engine, plugins: PluginSet) -> None:
    events = [*engine.run(asked(), plugins, previews=True, pause_at=PauseAt(STEPS - 1))]
    assert isinstance(events[-1], Paused)
    shown = [event.data for event in events if isinstance(event, Preview)]
    last = np.asarray(Picture.open(BytesIO(shown[-1])).convert("RGB").resize((WIDTH // 8, HEIGHT // 8)))
    assert last.std() > 1, "one grey says nothing"


def test_what_settings_say_and_the_model_does_not_know_is_named(engine: Engine, plugins: PluginSet) -> None:
    _, events = drawn(engine, plugins, clip_skip=2, negative_prompt="fog")
    said = " ".join(event.message for event in events if isinstance(event, Warning))
    assert "Clip skip" in said and "true_cfg_scale is 1" in said


def test_what_it_does_not_take_fails_before_anything_is_loaded(engine: Engine, plugins: PluginSet) -> None:
    (failed,) = engine.run(asked(variation_strength=0.5), plugins)
    assert isinstance(failed, Failed) and "variation_strength" in failed.message


@pytest.mark.heavy
def test_pictures_that_are_looked_at_all_go_to_one_call(plugins: PluginSet, tmp_path: Path) -> None:
    folder = build("flux2-klein", tmp_path / CHECKPOINTS / "klein")
    shades = [np.full((HEIGHT, WIDTH, 3), shade, np.uint8) for shade in (40, 220)]
    looks = [Picture.fromarray(each) for each in shades]
    digests = tuple(Inputs(tmp_path).put(_png(each)) for each in looks)
    engine = Engine(library=Library(tmp_path), device="cpu")
    two, _ = drawn(engine, plugins, model="klein", init_images=digests, batch_size=2)
    pipe = diffusers.Flux2KleinPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    assert np.array_equal(pixels(two), own(pipe, image=looks))
    one, _ = drawn(engine, plugins, model="klein", init_images=digests[:1])
    assert np.array_equal(pixels(one), own(pipe, image=looks[:1])) and one.pixel_hash != two.pixel_hash
    fields = recall(two.infotext, plugins, Library(tmp_path), {}).fields
    assert fields["init_images"] == digests


def _png(picture: Picture.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_tokens_are_counted_by_the_pipelines_own_tokenizers(root: Path, pipe: Any) -> None:
    text = "a red house by the sea " * 30
    counts = DIFFUSERS.count(Library(root).find("flux"), text) if DIFFUSERS.count else ()
    assert [(each.encoder, each.tokens) for each in counts] == [
        ("T5", len(pipe.tokenizer_2(text).input_ids)),
        ("CLIP", len(pipe.tokenizer(text, truncation=False).input_ids)),
    ]
    assert counts[1].room == 77 and counts[1].cut and text[: counts[1].cut].count("house") < 30

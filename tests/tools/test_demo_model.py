"""The demo model's tools: the data are the same for ever, training leads to a checkpoint, and the measures measure."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sdterm.core.library.checkpoints import CheckpointFile
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.plugins.sd import sd1
from tests.later import Later
from tools.demo_model import measures
from tools.demo_model.adherence import checks
from tools.demo_model.canvas import COLORS
from tools.demo_model.captions import caption
from tools.demo_model.evaluate import adherence, paint_prompts
from tools.demo_model.measures import Picture
from tools.demo_model.painter import Painter
from tools.demo_model.pictures import draw
from tools.demo_model.scenes import sample_scene
from tools.demo_model.training import Budget, Settings

export: Any = Later("tools.demo_model.export")
preview: Any = Later("tools.demo_model.preview")
training: Any = Later("tools.demo_model.train")
CPU = torch.device("cpu")
RED, YELLOW, BLUE, WHITE = (COLORS[name] for name in ("red", "yellow", "blue", "white"))

# Caption and mean colour of the pictures that the script drew which trained the shipped model.
DRAWN = {
    "golden-0": ("landscape, sailboat, day, lake", (127.26, 171.43, 187.38)),
    "golden-1": ("green meadow, clear weather", (126.44, 183.4, 177.98)),
    "golden-2": ("sun, cloudy sky, blue hills, midday, a pine tree", (130.41, 175.83, 179.49)),
    "golden-3": ("a green mushroom, gray background", (142.1, 160.23, 143.87)),
    "golden-4": ("cute purple kitten, snow, blue sky", (151.24, 158.84, 216.5)),
    "golden-6": ("\0, dark, blue mountain range, green meadow", (52.72, 75.12, 85.74)),
    "golden-7": ("\0, green diamond on orange", (221.01, 136.21, 37.34)),
}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on busy cores take several times as long as one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- Pictures and captions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", DRAWN)
def test_a_seed_gives_the_scene_caption_and_picture_that_it_gave_in_training(seed: str) -> None:
    rng = Random(seed)
    scene = sample_scene(rng)
    words, color = DRAWN[seed]
    assert caption(scene, rng) == words
    picture = draw(scene, (128, 128), seed)
    assert picture.reshape(-1, 3).mean(0) == pytest.approx(color, abs=0.1)
    assert np.array_equal(picture, draw(scene, (128, 128), seed))
    assert draw(scene, (192, 128), seed).shape == (128, 192, 3)


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Every stage, two steps each, on a handful of pictures."""
    two = Budget(1, steps=2)
    work = tmp_path_factory.mktemp("work")
    small = Settings(work, images=13, large_images=2, vocabulary_captions=50, vae_batch=2, unet_batch=2)
    return replace(small, vae=two, decoder=two, warmup=two, unet=two)


@pytest.fixture(scope="module")
def trained(settings: Settings, one_thread: None) -> Path:
    checkpoint = settings.work / "trained.safetensors"
    training.train(settings, checkpoint)
    return checkpoint


def contents(checkpoint: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(checkpoint, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


@pytest.mark.heavy
def test_training_leads_to_a_checkpoint_laid_out_as_the_shipped_one(trained: Path) -> None:
    tensors, metadata = contents(trained)
    shipped, shipped_metadata = contents(EMBEDDED_MODEL)
    assert {key: (t.shape, t.dtype) for key, t in tensors.items()} == {
        key: (t.shape, t.dtype) for key, t in shipped.items()
    }
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert json.loads(metadata.pop("sdterm.architecture")) == json.loads(shipped_metadata.pop("sdterm.architecture"))
    assert metadata == shipped_metadata


@pytest.mark.heavy
def test_sdterm_reads_a_trained_checkpoint(trained: Path) -> None:
    reader = CheckpointFile(trained)
    match = sd1.detect(reader)
    assert match and match.refusal is None and match.native_size == 128
    components = sd1.build(reader, CPU, torch.float32)
    assert components.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 64, 64)


@pytest.mark.heavy
def test_stages_that_are_done_are_not_done_again(
    trained: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    training.train(settings, trained)
    assert "stage" not in capsys.readouterr().out


def test_the_shipped_weights_come_out_of_an_export_unchanged(tmp_path: Path) -> None:
    modules = sd1.build(CheckpointFile(EMBEDDED_MODEL), CPU, torch.float16).modules
    export.write_checkpoint(tmp_path / "copy.safetensors", modules["unet"], modules["vae"], modules["text_encoder"])
    (copied, metadata), (shipped, shipped_metadata) = contents(tmp_path / "copy.safetensors"), contents(EMBEDDED_MODEL)
    assert copied.keys() == shipped.keys()
    assert all(torch.equal(tensor, shipped[key]) for key, tensor in copied.items())
    assert metadata == shipped_metadata


# --- Preview map ------------------------------------------------------------------------------------------------------


def test_the_fit_finds_a_linear_map() -> None:
    latents = torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    factors, bias = (
        torch.tensor([[0.1, 0.2, 0.3], [-0.1, 0, 0.1], [0, 0.2, 0], [0.3, 0, -0.2]]),
        torch.tensor([0.5] * 3),
    )
    found = preview.fit(latents, latents @ factors + bias)
    assert torch.allclose(found.factors.float(), factors, atol=1e-5)
    assert torch.allclose(found.bias.float(), bias, atol=1e-5)
    assert found.r2 == pytest.approx(1)
    read_back = json.loads(preview.to_json(found))
    assert np.allclose(read_back["rgb_factors"], factors, atol=1e-5)
    assert np.allclose(read_back["rgb_bias"], bias, atol=1e-5)


def test_the_shipped_preview_map_tells_the_colours_of_pictures() -> None:
    reader = CheckpointFile(EMBEDDED_MODEL)
    shipped = reader.preview
    assert shipped is not None
    vae = sd1.build(reader, CPU, torch.float32).modules["vae"]
    latents, colors = preview.latents_and_colors(vae, 8)
    shown = latents @ torch.tensor(shipped["rgb_factors"]) + torch.tensor(shipped["rgb_bias"])
    unexplained = (colors - shown).square().sum() / (colors - colors.mean(0)).square().sum()
    assert unexplained < 0.12  # 0.06 of 512 pictures


# --- Measuring --------------------------------------------------------------------------------------------------------


def painted(background: tuple[int, int, int], *boxes: tuple[tuple[int, int, int], int, int, int, int]) -> Picture:
    """128x128 with filled boxes: colour, left, top, right, bottom."""
    picture = np.full((128, 128, 3), background, np.uint8)
    for color, left, top, right, bottom in boxes:
        picture[top:bottom, left:right] = color
    return picture


def test_a_red_square_on_blue_is_measured_as_one() -> None:
    picture = painted(BLUE, (RED, 40, 40, 88, 88))
    assert measures.background_color(picture) == "blue"
    assert measures.foreground_color(picture) == "red"
    assert measures.count_blobs(measures.foreground(picture)) == 1
    assert measures.foreground(picture).sum() == 48 * 48
    assert measures.area([picture], "red") == 48 * 48 / 128**2
    assert measures.area([picture], "red", "blue") == 1


def test_a_check_holds_for_what_it_asks_for() -> None:
    asked = [check for check in checks() if check.prompt == "red square on a yellow background"]
    right, wrong = (painted(background, (RED, 40, 40, 88, 88)) for background in (YELLOW, BLUE))
    assert [check.holds(right) for check in asked] == [True, True]
    assert [check.group for check in asked if check.holds(wrong)] == ["shape: object colour"]


def test_an_empty_picture_shows_no_object() -> None:
    picture = painted(BLUE)
    assert measures.foreground_color(picture) is None
    assert measures.side_of_foreground(picture) is None
    assert measures.side_of_color(picture, "red") is None
    assert measures.colors_by_side(picture) == (None, None)
    assert measures.count_blobs(measures.foreground(picture)) == 0


def test_sides_and_numbers_are_told_apart() -> None:
    pair = painted(WHITE, (RED, 10, 50, 40, 80), (BLUE, 88, 50, 118, 80))
    assert measures.colors_by_side(pair) == ("red", "blue")
    assert measures.count_blobs(measures.foreground(pair)) == 2
    assert measures.side_of_color(pair, "red") == "left"
    assert measures.side_of_color(pair, "blue") == "right"
    assert measures.side_of_foreground(painted(WHITE, (RED, 10, 50, 40, 80))) == "left"
    assert measures.side_of_foreground(painted(WHITE, (RED, 90, 50, 120, 80))) == "right"
    touching = painted(WHITE, (RED, 10, 50, 40, 80), (RED, 39, 50, 60, 80), (RED, 100, 50, 105, 55))
    assert measures.count_blobs(measures.foreground(touching)) == 1, "touching is one; a speck is none"


def test_skies_and_grounds_are_told_apart() -> None:
    sunset = painted((30, 90, 40), ((250, 120, 60), 0, 0, 128, 72))
    night = painted((20, 30, 60))
    assert measures.sky_brightness(night) < 75 < measures.sky_brightness(sunset)
    assert measures.horizon_warmth(night) < 8 < measures.horizon_warmth(sunset)
    assert measures.ground_color(sunset).tolist() == [30, 90, 40]
    assert measures.chroma(night) == 40
    assert measures.sharpness(night) == 0 < measures.sharpness(painted(WHITE, (RED, 40, 40, 88, 88)))


# --- The shipped model ------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("cfg_scale", "prompts", "held"),
    [(7.0, range(78, 111), range(99, 133)), (1.0, range(67), range(100))],
    ids=["cfg 7", "cfg 1"],
)
def test_pictures_show_what_was_asked(cfg_scale: float, prompts: range, held: range) -> None:
    """With guidance most prompts are shown, without it about half (84 and 56 of 110 when the model was made)."""
    found = adherence(paint_prompts(Painter(EMBEDDED_MODEL), cfg_scale))
    assert found.shown in prompts, found.groups()
    assert found.held in held, found.groups()

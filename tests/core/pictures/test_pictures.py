"""Resizing, masks and colours against what A1111 made, and what holds for any picture."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdterm.core.pictures.colours import corrected
from sdterm.core.pictures.masks import box_around, doubled, filled_in, latent_mask, mask_of
from sdterm.core.pictures.resizing import cropped, filled, flattened, stretched
from sdterm.core.pictures.source import source_of
from sdterm.request import make_request

PICTURES = np.load(Path(__file__).parents[2] / "golden" / "img2img.npz")
SIDES = st.integers(1, 90)


def picture(name: str) -> Image.Image:
    return Image.fromarray(PICTURES[name])


def test_a_blurred_mask_is_opencvs_to_the_last_bit() -> None:
    overlay = np.asarray(doubled(mask_of(picture("@mask_disc"), blur=(4, 4))))
    assert np.array_equal(overlay, PICTURES["B73-return-mask/1"][..., 0])
    soft = np.asarray(mask_of(picture("@mask_large"), blur=(4, 4)))
    assert np.array_equal(soft, PICTURES["B75-return-both-only/1"][..., 0])


def test_a_mask_is_alpha_where_there_is_any_else_brightness() -> None:
    red = Image.new("RGB", (4, 4), "#ff0000")
    assert mask_of(red).getextrema() == (76, 76)
    assert mask_of(Image.new("RGBA", (4, 4), "#000000ff")).getextrema() == (0, 0), "it masks nothing"
    half = Image.new("RGBA", (4, 4), "#00000081")
    assert mask_of(half).getextrema() == (255, 255) and mask_of(half, rounded=False).getextrema() == (129, 129)
    assert mask_of(half, inverted=True).getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("mask", "padding", "size", "box"),
    [
        ("@mask_disc", 8, (128, 128), (23, 13, 118, 108)),
        ("@mask_disc", 32, (128, 128), (0, 0, 128, 128)),
        ("@mask_large", 16, (160, 96), (72, 63, 230, 158)),
        ("@mask_wide", 8, (128, 128), (42, 0, 138, 96)),
    ],
)
def test_only_masked_cuts_out_what_a1111_does(
    mask: str, padding: int, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert box_around(mask_of(picture(mask), blur=(4, 4)), padding, size) == box


def test_nothing_masked_is_nothing_to_cut_out() -> None:
    assert box_around(Image.new("L", (8, 8)), 4, (64, 64)) is None


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 40), st.integers(0, 8000))
def test_a_box_lies_inside_its_picture_and_holds_the_mask(
    width: int, height: int, w: int, h: int, padding: int, at: int
) -> None:
    mask = Image.new("L", (width, height))
    x, y = at % width, at // width % height
    mask.putpixel((x, y), 255)
    left, top, right, bottom = box_around(mask, padding, (w, h)) or (-1, -1, -1, -1)
    assert 0 <= left <= x < right <= width and 0 <= top <= y < bottom <= height


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_picture_comes_to_any_size(width: int, height: int, w: int, h: int) -> None:
    gray = Image.new("RGB", (width, height), "#404040")
    assert stretched(gray, w, h).size == (w, h)
    if w * height // width and h * width // height:  # else nothing of it is left
        full, fit = cropped(gray, w, h), filled(gray, w, h)
        assert full.size == fit.size == (w, h)


def test_what_is_clear_shows_the_background_and_gray_becomes_rgb() -> None:
    assert flattened(Image.new("RGBA", (2, 2), "#00000000"), "#ff8000").getpixel((0, 0)) == (255, 128, 0)
    assert flattened(Image.new("L", (2, 2), 7), "#ffffff").getpixel((0, 0)) == (7, 7, 7)


def test_fill_takes_the_colours_around_and_keeps_the_rest() -> None:
    scene, mask = picture("@scene"), picture("@mask_rect")
    made, kept = np.asarray(filled_in(scene, mask)), np.asarray(mask) == 0
    assert np.abs(made[kept].astype(int) - np.asarray(scene)[kept]).max() <= 1
    assert not np.array_equal(made[~kept], np.asarray(scene)[~kept])


def test_a_latent_mask_has_whole_cells_unless_its_shades_count() -> None:
    soft = picture("@mask_soft")
    assert {*np.unique(latent_mask(soft, 16, 16, rounded=True))} <= {0.0, 1.0}
    assert len(np.unique(latent_mask(soft, 16, 16, rounded=False))) > 2


def test_color_correction_gives_the_colours_and_keeps_the_brightness() -> None:
    scene, other = PICTURES["@scene"], PICTURES["@scene2"]
    same = corrected(scene, scene).astype(int)
    assert np.abs(same - scene).max() <= 3 and np.abs(same - scene).mean() < 1
    brightness = np.array([0.299, 0.587, 0.114])
    moved = (corrected(other, scene) @ brightness - other @ brightness)[1:-1]
    assert np.abs(moved).mean() < 2


def test_a_mask_of_another_size_and_an_init_of_its_own_go_together() -> None:
    request = make_request(prompt="x", resize_mode="Just resize (latent upscale)", masked_content="fill")
    source = source_of(picture("@wide"), picture("@mask_half"), request, 64, 64, rounded=True)
    assert source.picture.size == source.whole.size == (160, 96) and source.mask and source.overlay_mask
    assert source.mask.size == (64, 64) and source.overlay_mask.size == (160, 96)

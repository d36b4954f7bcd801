"""Infotext in A1111's grammar, written and read."""

import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdterm.core import infotext
from sdterm.core.image_file import ImageFileError, read_infotext
from sdterm.plugins import jpeg, png

LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60).map(str.strip)
PROMPTS = LINE.filter(lambda text: text and not text.startswith("Negative prompt:"))
PARAMETERS = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7.0, "Seed": 5, "Size": "64x128"}
PIXELS = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)


@given(PROMPTS, st.just("") | PROMPTS, LINE)
def test_what_is_written_is_read_back(prompt: str, negative: str, model: str) -> None:
    text = infotext.write(prompt, negative, PARAMETERS | {"Model": model, "Nothing": None})
    parsed = infotext.parse(text)
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, negative)
    assert dict(parsed.parameters) == {k: str(v) for k, v in PARAMETERS.items()} | {"Model": model}


@given(st.text())
def test_any_text_is_read_without_complaint(text: str) -> None:
    infotext.parse(text)


def test_unknown_keys_are_kept_and_values_with_commas_are_quoted() -> None:
    text = 'a cat\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: "x: 12ab, y: 34cd", ADetailer model: face.pt'
    parsed = infotext.parse(text)
    assert parsed.parameters["Lora hashes"] == "x: 12ab, y: 34cd"
    assert parsed.parameters["ADetailer model"] == "face.pt"
    assert infotext.write(parsed.prompt, parsed.negative_prompt, parsed.parameters) == text


@pytest.mark.parametrize("text", ["a " * 15_000, 'a: "' * 15_000, 'aa:"\\' * 15_000, "aa" + ":" * 30_000])
def test_a_long_text_is_read_in_a_moment(text: str) -> None:
    """Files come from anywhere; a few KB must not hold up whoever looks at it."""
    began = time.perf_counter()
    infotext.parse(text)
    assert time.perf_counter() - began < 1


def test_a_prompt_may_look_like_parameters_and_span_lines() -> None:
    prompt = "a: 1, b: 2, c: 3\nSteps: 20, Sampler: x, Seed: 1\n\nand (more:1.2)"
    parsed = infotext.parse(infotext.write(prompt, "bad,\nworse: 2", PARAMETERS))
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, "bad,\nworse: 2")


def test_png_keeps_it_in_the_parameters_chunk_as_a1111_does(tmp_path: Path) -> None:
    for text, chunk in (("plain", b"tEXtparameters\0plain"), ("naïve “日本” 🐈", b"iTXtparameters\0")):
        data = png.encode(PIXELS, text)
        assert chunk in data
        (tmp_path / "x.png").write_bytes(data)
        assert read_infotext(tmp_path / "x.png") == text
        assert np.array_equal(np.asarray(Image.open(BytesIO(data))), PIXELS)


def test_jpeg_keeps_it_in_exif_as_big_endian_utf_16(tmp_path: Path) -> None:
    text = "naïve “日本” 🐈\nSteps: 1"
    data = jpeg.encode(PIXELS, text, quality=90)
    assert b"UNICODE\0" + text.encode("utf-16-be") in data
    (tmp_path / "x.jpg").write_bytes(data)
    assert read_infotext(tmp_path / "x.jpg") == text


@pytest.mark.parametrize(
    "content", [b"", b"not an image", png.encode(PIXELS, "x")[:100], b"\x89PNG\r\n\x1a\n" + b"\0" * 50]
)
def test_a_file_that_is_no_sound_image_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"x\.png cannot be read"):
        read_infotext(tmp_path / "x.png")


def test_an_image_without_infotext_says_so_by_none(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    assert read_infotext(tmp_path / "x.png") is None

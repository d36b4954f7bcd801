"""The file formats: the picture, A1111's infotext in A1111's place, and a sentence for what does not fit."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from sdterm.core.extensions.registry import load_plugins
from sdterm.core.infotext.files import read_infotext
from sdterm.hooks import OutputSaver, PluginError
from sdterm.plugins import avif, exif, jpeg, png, webp

TEXT = "naïve “日本” 🐈\nSteps: 1"

# piexif 1.1.3, as A1111 calls it: dump({"Exif": {UserComment: UserComment.dump(TEXT, encoding="unicode")}})
PIEXIF = bytes.fromhex(
    "4578696600004d4d002a00000008000187690004000000010000001a000000000001928600070000003400000028"
    "554e49434f444500006e006100ef007600650020201c65e5672c201d0020d83ddc08000a00530074006500700073003a00200031"
)
Encode = Callable[..., bytes]
WITH_EXIF = pytest.mark.parametrize("encode", [jpeg.encode, webp.encode, avif.encode], ids=["jpeg", "webp", "avif"])


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A smooth picture, uint8 [64, 72, 3], that lossy formats keep well."""
    y, x = np.mgrid[:64, :72]
    return np.stack([3 * x, 4 * y % 256, 255 - x - y], -1).astype(np.uint8)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def test_the_exif_is_what_a1111_writes() -> None:
    assert exif.exif(TEXT) == PIEXIF


@WITH_EXIF
def test_a_file_carries_the_exif_that_a1111_writes(encode: Encode, picture: np.ndarray) -> None:
    data = encode(picture, TEXT)
    assert PIEXIF.removeprefix(b"Exif\0\0") in data
    assert Image.open(BytesIO(data)).getexif().get_ifd(0x8769) == {0x9286: b"UNICODE\0" + TEXT.encode("utf-16-be")}


@pytest.mark.parametrize("text", ["plain", "naïve", TEXT, "a\tb\r\nc", "x" * 30_000])
@pytest.mark.parametrize("saver", load_plugins(third_party=False).all(OutputSaver), ids=lambda saver: saver.id)
def test_every_format_keeps_picture_and_infotext(
    saver: OutputSaver, text: str, picture: np.ndarray, tmp_path: Path
) -> None:
    data = saver.encode(picture, text, **{option.name: option.default for option in saver.options})
    path = tmp_path / f"image{saver.suffix}"
    path.write_bytes(data)
    assert read_infotext(path) == text
    assert Image.open(path).format == saver.label.upper()
    assert np.abs(decoded(data) - picture).mean() < 4
    assert saver.encode(picture, text, **{option.name: option.default for option in saver.options}) == data


def test_png_and_lossless_webp_keep_every_value() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 72, 3), np.uint8)
    assert np.array_equal(decoded(png.encode(noise, "")), noise)
    assert np.array_equal(decoded(webp.encode(noise, "", lossless=True)), noise)
    assert not np.array_equal(decoded(webp.encode(noise, "")), noise)


@WITH_EXIF
def test_quality_buys_fidelity_with_size(encode: Encode, picture: np.ndarray) -> None:
    low, high = (encode(picture, "", quality=quality) for quality in (5, 95))
    assert len(low) < len(high)
    assert np.abs(decoded(low) - picture).mean() > np.abs(decoded(high) - picture).mean()


@pytest.mark.parametrize(("text", "chunk"), [("naïve\xff", b"tEXt"), ("日本", b"iTXt")])
def test_a_png_chunk_is_text_where_latin_1_can_say_it(text: str, chunk: bytes, picture: np.ndarray) -> None:
    assert chunk + b"parameters\0" in png.encode(picture, text)


@pytest.mark.parametrize("encode", [png.encode, jpeg.encode, webp.encode, avif.encode])
@given(st.text(st.characters(), max_size=50))
@example("\ud800\0\x1b")
def test_whatever_the_text_the_picture_is_saved(encode: Encode, text: str) -> None:
    """A plugin's prompt may hold what no file can: NUL and lone surrogates are replaced, the rest stays."""
    saved = Image.open(BytesIO(encode(np.zeros((8, 8, 3), np.uint8), text)))
    comment = saved.getexif().get_ifd(0x8769).get(0x9286)
    kept = comment.removeprefix(b"UNICODE\0").decode("utf-16-be") if comment else saved.info.get("parameters", "")
    assert kept == "".join("�" if c == "\0" else "?" if "\ud800" <= c <= "\udfff" else c for c in text)


@pytest.mark.parametrize(
    ("encode", "side"),
    [(jpeg.encode, 65_535), (webp.encode, 16_383), (avif.encode, 65_535)],
    ids=["jpeg", "webp", "avif"],
)
def test_a_side_that_a_format_cannot_hold_is_a_sentence(encode: Encode, side: int) -> None:
    for shape in ((side + 1, 1, 3), (1, side + 1, 3)):
        with pytest.raises(PluginError, match=rf"at most {side} pixels per side: use --format png\.$"):
            encode(np.zeros(shape, np.uint8), "")


def test_an_infotext_that_a_jpeg_cannot_hold_is_a_sentence_and_one_that_it_just_can_is_kept(
    picture: np.ndarray, tmp_path: Path
) -> None:
    longest = "x" * ((65_533 - len(exif.exif(""))) // 2)
    (tmp_path / "x.jpg").write_bytes(jpeg.encode(picture, longest))
    assert read_infotext(tmp_path / "x.jpg") == longest
    with pytest.raises(PluginError, match=r"too long for a JPEG \(64 KB\): use --format png\.$"):
        jpeg.encode(picture, longest + "x")
    for encode in (webp.encode, avif.encode, png.encode):
        assert encode(picture, longest * 4)

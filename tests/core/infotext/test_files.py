"""The infotext in files of every kind, whoever wrote them and however damaged they are."""

import contextlib
import json
import os
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image, PngImagePlugin
from sd_parsers import ParserManager
from unstable_reader.extractor import ImageMetadataExtractor

from sdterm import load_plugins
from sdterm.core.infotext.files import ImageFileError, infotext_from, read_infotext, read_pixels
from sdterm.core.infotext.grammar import parse
from sdterm.core.infotext.write import image_infotext
from sdterm.core.library.checkpoints import Library
from sdterm.core.planning.choices import choose
from sdterm.core.planning.plan import prepare
from sdterm.plugins import jpeg, png
from sdterm.request import make_request
from sdterm.tui.pasted import infotext_in

PIXELS = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
PICTURE = Image.fromarray(PIXELS)
TEXT = "naïve “日本” 🐈\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 5, Size: 64x64"
PLAIN = "a house\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 5, Size: 64x64"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def stored(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return read_infotext(path)


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """A small PNG with more chunks, before or behind its pixels."""
    plain = png.encode(PIXELS, "")
    plain = plain.replace(chunk(b"tEXt", b"parameters\0"), b"")
    place = plain.index(b"IEND") - 4 if after else plain.index(b"IDAT") - 4
    return plain[:place] + b"".join(chunks) + plain[place:]


def with_comment(comment: bytes, kind: str = "JPEG") -> bytes:
    """An image with that EXIF UserComment, header and all."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    buffer = BytesIO()
    PICTURE.save(buffer, kind, exif=exif.tobytes())
    return buffer.getvalue()


# --- where programs put it --------------------------------------------------------------------------------------------


def test_png_keeps_it_in_the_parameters_chunk_as_a1111_does(tmp_path: Path) -> None:
    for text, name in (("plain", b"tEXtparameters\0plain"), (TEXT, b"iTXtparameters\0")):
        data = png.encode(PIXELS, text)
        assert name in data
        assert stored(tmp_path / "x.png", data) == text
        assert np.array_equal(read_pixels(data), PIXELS)


def test_jpeg_keeps_it_in_exif_as_big_endian_utf_16(tmp_path: Path) -> None:
    data = jpeg.encode(PIXELS, TEXT, quality=90)
    assert b"UNICODE\0" + TEXT.encode("utf-16-be") in data
    assert stored(tmp_path / "x.jpg", data) == TEXT


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"tEXt", b"parameters\0" + PLAIN.encode("latin-1")),
        (b"zTXt", b"parameters\0\0" + zlib.compress(PLAIN.encode("latin-1"))),
        (b"iTXt", b"parameters\0\0\0\0\0" + PLAIN.encode()),
        (b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(PLAIN.encode())),
    ],
    ids=["tEXt", "zTXt", "iTXt", "iTXt compressed"],
)
def test_every_kind_of_png_text_is_read_before_or_behind_the_pixels(
    name: bytes, content: bytes, after: bool, tmp_path: Path
) -> None:
    assert stored(tmp_path / "x.png", png_with(chunk(name, content), after=after)) == PLAIN


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_exif_is_read_from_every_format_that_has_it(kind: str, tmp_path: Path) -> None:
    data = with_comment(b"UNICODE\0" + TEXT.encode("utf-16-be"), kind)
    assert stored(tmp_path / f"x.{kind.lower()}", data) == TEXT


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0\xfe\xff" + TEXT.encode("utf-16-be"),
        b"UNICODE\0\xff\xfe" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode(),
        b"ASCII\0\0\0" + TEXT.encode(),
        b"\0" * 8 + TEXT.encode(),
        TEXT.encode() + b"\0",
    ],
    ids=["BE", "LE", "BE mark", "LE mark", "UTF-8", "ASCII", "undefined", "none"],
)
def test_every_encoding_of_a_user_comment_is_understood(comment: bytes, tmp_path: Path) -> None:
    assert stored(tmp_path / "x.jpg", with_comment(comment)) == TEXT


def test_a_japanese_header_is_tolerated(tmp_path: Path) -> None:
    assert stored(tmp_path / "x.jpg", with_comment(b"JIS\0\0\0\0\0" + PLAIN.encode("iso2022_jp"))) == PLAIN


def test_the_comment_of_exif_goes_before_the_text_chunk_as_in_a1111(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + TEXT.encode("utf-16-be")
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", PLAIN)
    PICTURE.save(tmp_path / "x.png", exif=exif.tobytes(), pnginfo=info)
    assert read_infotext(tmp_path / "x.png") == TEXT


def test_gif_keeps_it_in_a_comment_and_another_comment_is_none(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "x.gif", comment=TEXT.encode())
    assert read_infotext(tmp_path / "x.gif") == TEXT
    PICTURE.save(tmp_path / "y.jpg", comment=b"Created with GIMP")
    assert read_infotext(tmp_path / "y.jpg") is None


def test_a_text_file_is_read_alone_or_beside_an_image_that_holds_none(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "x.png")
    assert read_infotext(tmp_path / "x.png") is None
    (tmp_path / "x.txt").write_text(TEXT + "\n", encoding="utf-8")
    assert read_infotext(tmp_path / "x.txt") == read_infotext(tmp_path / "x.png") == TEXT
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe" + TEXT.encode("utf-16-le"))
    assert read_infotext(tmp_path / "x.txt") == TEXT
    (tmp_path / "notes").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert read_infotext(tmp_path / "notes") == TEXT


def test_the_answer_of_the_api_stored_as_parameters_gives_the_first_images_infotext(tmp_path: Path) -> None:
    answer = {"prompt": "a house", "infotexts": ["grid", PLAIN], "index_of_first_image": 1}
    assert stored(tmp_path / "x.png", png.encode(PIXELS, json.dumps(answer))) == PLAIN
    for broken in (
        '{"infotexts": []}',
        '{"infotexts": [1',
        "{" * 50_000,
        '{"infotexts": 3, "index_of_first_image": {}}',
    ):
        assert stored(tmp_path / "x.png", png.encode(PIXELS, broken)) == broken


def test_novelais_record_is_converted_as_a1111_does(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    made = {"steps": 28, "sampler": "k_euler_ancestral", "seed": 42, "scale": 11.0, "uc": "lowres, bad"}
    for name, text in (("Software", "NovelAI"), ("Description", "a house"), ("Comment", json.dumps(made))):
        info.add_text(name, text)
    PICTURE.save(tmp_path / "x.png", pnginfo=info)
    parsed = parse(read_infotext(tmp_path / "x.png") or "")
    assert (parsed.prompt, parsed.negative_prompt) == ("a house", "lowres, bad")
    assert dict(parsed.parameters) == {
        "Steps": "28",
        "Sampler": "Euler a",
        "CFG scale": "11.0",
        "Seed": "42",
        "Size": "64x64",
        "Clip skip": "2",
        "ENSD": "31337",
    }


def test_a_source_is_a_file_or_the_infotext_itself(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png.encode(PIXELS, TEXT))
    assert infotext_from(str(tmp_path / "x.png")) == TEXT
    assert infotext_from(TEXT) == TEXT
    for source in ("no such file.png", "a house\nby a lake", "x" * 100_000, "a\0b"):
        with pytest.raises(ImageFileError):
            infotext_from(source)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (TEXT, True),
        ("a house\nSampler: Euler a, Steps: 20, Seed: 5", True),
        ("Steps: 20, Sampler: Euler a, Seed: 5", True),
        ("a house\nstyle: dark, mood: calm, light: soft", False),
        ("Steps: 20, then stop", False),
        ("a house\nSampler: Euler a, CFG scale: 7.0, Seed: 5, Size: 64x64, Model: x", False),
    ],
)
def test_what_is_pasted_is_an_infotext_where_it_is_one_for_the_command_line(text: str, is_one: bool) -> None:
    assert (infotext_in(text) is not None) == is_one
    with contextlib.nullcontext() if is_one else pytest.raises(ImageFileError):
        assert infotext_from(text) == text


# --- hostile files ----------------------------------------------------------------------------------------------------


def test_a_big_picture_is_read_without_decoding_it(tmp_path: Path) -> None:
    """A file that claims more pixels than memory holds, with its text in front."""
    header = (100_000).to_bytes(4) + (1700).to_bytes(4) + b"\x08\x02\0\0\0"
    text = chunk(b"tEXt", b"parameters\0" + PLAIN.encode())
    data = SIGNATURE + chunk(b"IHDR", header) + text + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    assert stored(tmp_path / "x.png", data) == PLAIN
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_pixels(tmp_path / "x.png")


BOMB = zlib.compress(b"\0" * (64 << 20))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        SIGNATURE + b"\0" * 50,
        png.encode(PIXELS, "x")[:40],
        png_with(chunk(b"zTXt", b"parameters\0\0" + BOMB)),
        png_with(chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB)),
        png_with(chunk(b"zTXt", b"parameters\0\0" + BOMB), after=True),
        png_with(chunk(b"tEXt", b"parameters\0" + b"Steps: 1, " * 200_000)),
        png_with()[:-60],
        b"Steps: 1, Seed: 2, Size: 8x8, " * 100_000,
        b"a\0b\nSteps: 1, Seed: 2, Size: 8x8",
        b"\xff\xfea",
        b"GIF89a" + b"\xff" * 20,
        b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 8,
        jpeg.encode(PIXELS, TEXT)[:30],
    ],
    ids=range(15),
)
def test_a_damaged_or_hostile_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ImageFileError) as raised:
        stored(tmp_path / "x.png", content)
    assert "x.png" in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 300


def test_a_torn_image_still_gives_the_infotext_in_front_of_the_tear(tmp_path: Path) -> None:
    assert stored(tmp_path / "x.png", png.encode(PIXELS, PLAIN)[:250]) == PLAIN
    assert stored(tmp_path / "x.jpg", jpeg.encode(PIXELS, TEXT)[:900]) == TEXT
    with pytest.raises(ImageFileError, match="cannot be read"):
        read_pixels(tmp_path / "x.png")


def test_damaged_exif_does_not_hide_the_text_chunk(tmp_path: Path) -> None:
    exif = chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\xff\xff\xff\xff")
    text = chunk(b"tEXt", b"parameters\0" + PLAIN.encode())
    assert stored(tmp_path / "x.png", png_with(text, exif)) == PLAIN


def test_what_is_no_file_is_one_sentence_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(ImageFileError, match="cannot be read"):
            read_infotext(path)


def test_an_image_without_infotext_says_so_by_none(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "x.png")
    assert read_infotext(tmp_path / "x.png") is None


# --- readers of other people ------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> str:
    """A full infotext, as sdterm writes it."""
    plugins, library = load_plugins(), Library(tmp_path)
    request = make_request(
        prompt="a (red:1.2) house, naïve “日本” 🐈\nby a lake",
        negative_prompt="fog, blurry",
        sampler="DPM++ 2M",
        seed=5,
        cfg_scale=6.5,
        clip_skip=2,
        quantize=True,
        extra_params={"ADetailer model": "face.pt"},
        width=64,
        height=128,
    )
    choices = choose(request, plugins, library)
    plan = prepare(request, choices, plugins, library, {})
    return image_infotext(plan, plan.images[0], choices, plugins)


def test_sd_parsers_reads_our_files(written: str, tmp_path: Path) -> None:
    for path, saver in ((tmp_path / "x.png", png), (tmp_path / "x.jpg", jpeg)):
        path.write_bytes(saver.encode(PIXELS, written))
        found = ParserManager().parse(path)
        assert found and found.generator.name == "AUTOMATIC1111"
        (sampler,) = found.samplers
        assert sampler.name == "DPM++ 2M" and sampler.model and sampler.model.name == "sdterm-demo"
        assert sampler.parameters == {"scheduler": "Karras", "cfg_scale": "6.5", "seed": "5", "steps": "20"}
        assert [prompt.value for prompt in sampler.prompts] == ["a (red:1.2) house, naïve “日本” 🐈\nby a lake"]
        assert [prompt.value for prompt in sampler.negative_prompts] == ["fog, blurry"]
        assert found.metadata["Clip skip"] == "2" and found.metadata["Size"] == "64x128"


def test_sd_prompt_readers_core_reads_our_files(written: str, tmp_path: Path) -> None:
    for path, saver in ((tmp_path / "x.png", png), (tmp_path / "x.jpg", jpeg)):
        path.write_bytes(saver.encode(PIXELS, written))
        reader = ImageMetadataExtractor(str(path))
        reader.extract_metadata()
        assert (reader.prompt, reader.negative) == ("a (red:1.2) house, naïve “日本” 🐈\nby a lake", "fog, blurry")
        assert reader.reader.parameter["seed"] == "5" and reader.reader.parameter["size"] == "64x128"


def test_piexif_reads_our_jpeg_as_a1111_does(written: str) -> None:
    exif = piexif.load(jpeg.encode(PIXELS, written))
    assert piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment]) == written

"""Inputs: what comes in as a picture, hostile files among it, and where it is kept."""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sdterm.core import inputs as module
from sdterm.core.inputs import MOST_PIXELS, InputError, Inputs, UnknownInputError, decoded, picture_size

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def two_colours(mode: str = "RGB", size: tuple[int, int] = (8, 4)) -> Image.Image:
    """Red, with a blue corner above on the left."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (0, 0, 2, 2))
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, data: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG whose header says anything, whatever its data are."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A text chunk of a hundred kilobytes that unpacks to a hundred megabytes."""
    return png(1, 1, data=b"\0" * 4, more=chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"\0" * 100 * 2**20, 9)))


def gif_of(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + encoded(two_colours("P"), "GIF")[10:]


def no_pixels_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on whoever gives memory to a picture's pixels fails the test."""

    def load(self: ImageFile.ImageFile) -> None:
        pytest.fail("the picture was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", load)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        png(60_000, 60_000),
        png(8192, 8193),
        png(2**31 - 1, 1),
        gif_of(60_000, 60_000),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\x00\xff\x3f\x00" + b"\0" * 20,
    ],
    ids=["60,000²", "a line too many", "a line of two billion", "gif", "bmp", "webp"],
)
def test_a_picture_with_too_many_pixels_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes
) -> None:
    no_pixels_taken(monkeypatch)
    with pytest.raises(InputError, match=r"pixels|damaged"):
        decoded(file, "It")
    with pytest.raises(InputError):
        Inputs(tmp_path).put(file)
    assert not list(Inputs(tmp_path).folder.iterdir())


def test_a_picture_of_the_most_pixels_passes_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(8192, 8192))
    width, height = picture_size(tmp_path / "large.png")
    assert width * height == MOST_PIXELS


@pytest.mark.parametrize("bomb", [text_bomb(), png(4000, 4000, data=b"\0" * 64), png(0, 5)])
def test_a_header_that_lies_or_a_bomb_is_a_sentence(bomb: bytes) -> None:
    with pytest.raises(InputError, match=r"^It (is damaged|is not an image|has 0)"):
        decoded(bomb, "It")


def test_data_behind_what_the_header_says_are_not_unpacked() -> None:
    image = decoded(png(2, 1, data=b"\0" + bytes(RED + BLUE) + b"\0" * 50 * 2**20), "It")
    assert image.size == (2, 1) and image.getpixel((1, 0)) == BLUE


@pytest.mark.parametrize(
    "file",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"<!doctype html><title>404</title><p>Not found",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"%PDF-1.7\n",
        b"parameters",
        b"\0" * 1000,
    ],
)
def test_what_is_no_picture_is_refused_whatever_its_name(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(file)
    with pytest.raises(InputError, match="is not an image that sdterm can read: PNG, JPEG, WebP"):
        picture_size(path)
    with pytest.raises(InputError, match="is not an image that sdterm can read"):
        decoded(file, "It")


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="It is empty"):
        decoded(b"", "It")
    with pytest.raises(InputError, match="The file is empty"):
        Inputs(tmp_path).put(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_picture_torn_anywhere_is_a_sentence_or_whole(kind: str) -> None:
    rng = np.random.default_rng(5)
    whole = encoded(Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)), kind)
    assert decoded(whole, "It").size == (30, 40)
    for length in range(1, len(whole), max(1, len(whole) // 50)):
        try:
            assert decoded(whole[:length], "It").size == (30, 40)
        except InputError as error:
            assert str(error).startswith("It is")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_picture_with_any_byte_changed_is_a_sentence_or_a_picture(kind: str) -> None:
    whole = bytearray(encoded(two_colours(size=(16, 16)), kind))
    for place in range(min(len(whole), 200)):
        changed = bytes(whole[:place]) + bytes([whole[place] ^ 0xFF]) + bytes(whole[place + 1 :])
        try:
            assert decoded(changed, "It").mode in ("RGB", "RGBA")
        except InputError as error:
            assert str(error).startswith("It ")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, RED)]
    animation = encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    image = decoded(animation, "It")
    assert image.convert("RGB").getpixel((4, 4)) == RED


def test_every_kind_of_pixels_becomes_rgb_or_rgba_of_8_bits() -> None:
    for mode in ("1", "L", "P", "RGB"):
        assert decoded(encoded(two_colours(mode)), mode).mode == "RGB"
    for mode in ("LA", "RGBA"):
        assert decoded(encoded(two_colours(mode)), mode).mode == "RGBA"
    assert decoded(encoded(two_colours("P")), "palette").getpixel((0, 0)) == BLUE


def test_a_palette_or_a_colour_that_is_clear_becomes_alpha() -> None:
    palette = two_colours("P")
    clear = decoded(encoded(palette, transparency=palette.getpixel((0, 0))), "It")
    assert clear.getchannel("A").getextrema() == (0, 255) and clear.getpixel((7, 3)) == (*RED, 255)
    assert decoded(encoded(two_colours(), transparency=BLUE), "It").getpixel((0, 0)) == (*BLUE, 0)


def test_sixteen_bits_become_eight() -> None:
    shades = np.array([[0, 256, 0x8000, 0xFFFF]], np.uint16)
    for kind in ("PNG", "TIFF"):
        image = decoded(encoded(Image.fromarray(shades), kind), kind)
        assert image.mode == "RGB"
        assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]
    colours = png(2, 1, bits=16, data=b"\0" + struct.pack(">6H", 0xFFFF, 0, 0, 0, 0, 0xFFFF))
    assert [decoded(colours, "It").getpixel((x, 0)) for x in range(2)] == [RED, BLUE]
    key = chunk(b"tRNS", struct.pack(">H", 0xFFFF))
    assert decoded(png(1, 1, bits=16, colour=0, data=b"\0\xff\xff", more=key), "It").getpixel((0, 0)) == (255, 255, 255)


def test_numbers_that_are_no_colours_are_refused() -> None:
    for numbers in (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)):
        with pytest.raises(InputError, match="32-bit numbers instead of colors"):
            decoded(encoded(Image.fromarray(numbers), "TIFF"), "It")


def test_cmyk_becomes_rgb() -> None:
    for kind in ("JPEG", "TIFF"):
        image = decoded(encoded(two_colours("CMYK", (32, 32)), kind), "It")
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image, int)[20, 20] - RED).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_held_in_any_way_gives_an_upright_picture(orientation: int) -> None:
    """Bring the picture into the way that EXIF tells of, by the transposition that undoes it."""
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    upright = two_colours(size=(8, 4))
    lying = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(decoded(encoded(lying, exif=exif), "It")), np.asarray(upright))


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*" + b"\xff" * 40, b"Exif\0\0", b"\0" * 9])
def test_exif_that_is_damaged_turns_nothing(exif: bytes) -> None:
    for kind in ("PNG", "WEBP"):
        assert decoded(encoded(two_colours(), kind, exif=exif, lossless=True), "It").size == (8, 4)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_picture_is_kept_under_its_digest_and_read_again(tmp_path: Path) -> None:
    inputs, data = Inputs(tmp_path), encoded(two_colours())
    digest = inputs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert inputs.put((data[k : k + 7] for k in range(0, len(data), 7)), digest) == digest
    assert inputs.has(digest) and inputs.path(digest).read_bytes() == data
    assert np.array_equal(np.asarray(inputs.read(digest)), np.asarray(two_colours()))
    assert [path.name for path in inputs.folder.iterdir()] == [digest]


def test_another_digest_or_too_many_bytes_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, data = Inputs(tmp_path), encoded(two_colours())
    with pytest.raises(InputError, match="not aaaaaaaaaaaa"):
        inputs.put(data, "a" * 64)
    monkeypatch.setattr(module, "MOST_BYTES", 50)
    asked = 0

    def without_end() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield data

    with pytest.raises(InputError, match=r"larger than 0\.1 kB, the limit"):
        inputs.put(without_end())
    assert asked == 1
    assert not list(inputs.folder.iterdir())


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n", "\x1b[2J", "ä" * 64])
def test_what_is_no_digest_is_no_path(tmp_path: Path, digest: str) -> None:
    inputs = Inputs(tmp_path)
    acts: list[Callable[[], object]] = [
        lambda: inputs.path(digest),
        lambda: inputs.has(digest),
        lambda: inputs.read(digest),
        lambda: inputs.put(encoded(two_colours()), digest),
    ]
    for act in acts:
        with pytest.raises(InputError, match="is not a SHA-256") as error:
            act()
        assert "\x1b" not in str(error.value) and "\n" not in str(error.value)


def test_an_input_that_is_gone_changed_or_no_file_is_a_sentence(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    digest = inputs.put(encoded(two_colours()))
    inputs.path(digest).write_bytes(encoded(two_colours(size=(9, 9))))
    with pytest.raises(InputError, match=f"Input {digest[:12]} was changed on disk"):
        inputs.read(digest)
    inputs.path(digest).unlink()
    with pytest.raises(UnknownInputError, match="no longer exists"):
        inputs.read(digest)
    os.mkfifo(inputs.path(digest))
    with pytest.raises(InputError, match="cannot be read: it is not a regular file"):
        inputs.read(digest)
    inputs.path(digest).unlink()
    (tmp_path / "secret.png").write_bytes(encoded(two_colours()))
    inputs.path(digest).symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="cannot be read"):
        inputs.read(digest)


def test_a_file_on_disk_is_measured_by_its_header(tmp_path: Path) -> None:
    file = tmp_path / "it.webp"  # the name says nothing
    file.write_bytes(encoded(two_colours()))
    assert picture_size(file) == (8, 4)
    (tmp_path / "link.png").symlink_to(file)
    assert picture_size(tmp_path / "link.png") == (8, 4)
    os.mkfifo(tmp_path / "pipe.png")
    for wrong in (tmp_path / "pipe.png", tmp_path, tmp_path / "none\x1b[2J.png"):
        with pytest.raises(InputError, match="cannot be read") as error:
            picture_size(wrong)
        assert "\x1b" not in str(error.value)

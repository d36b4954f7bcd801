"""What each protocol writes: the right pixels, in few bytes."""

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat
from rich.console import Console
from textual.strip import Strip

from sdterm.tui.picture import image, iterm, kitty, sixel
from sdterm.tui.picture.characters import characters
from sdterm.tui.picture.support import Cells, Depth
from tests.tui.picture.reader import (
    distance,
    half_block_picture,
    inline_picture,
    kitty_pictures,
    placed_cells,
    sixel_picture,
    unwrapped_of_tmux,
)

SYSTEMS: dict[Depth, str] = {"truecolor": "truecolor", "256": "256", "16": "standard", "mono": "standard"}


@pytest.fixture(scope="module")
def photo(repo: Path) -> Iterator[Image.Image]:
    with Image.open(repo / "docs" / "images" / "sunset-red-house.png") as file:
        yield file.convert("RGB").resize((512, 512), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def noise() -> Image.Image:
    """As an early step looks: nothing in it is like its neighbour."""
    grains = [Image.effect_noise((64, 64), 120).resize((512, 512), Image.Resampling.BICUBIC) for _ in range(3)]
    return Image.merge("RGB", grains)


def written(strips: list[Strip], depth: Depth) -> int:
    """Bytes by Textual's own way of writing strips, the cursor moves included."""
    console = Console(color_system=SYSTEMS[depth], force_terminal=True)  # type: ignore[arg-type]
    return sum(len(strip.render(console).encode()) + len("\x1b[16;1H") for strip in strips)


@pytest.mark.parametrize("depth", ["truecolor", "256", "16", "mono"])
def test_a_preview_in_half_blocks_is_at_most_14_kb_whatever_it_shows(
    depth: Depth, photo: Image.Image, noise: Image.Image
) -> None:
    for picture in (photo, noise):
        assert written(characters(picture, 32, 16, depth, 14_000), depth) <= 14_000


def test_half_blocks_show_the_picture(photo: Image.Image) -> None:
    shown = half_block_picture(characters(photo, 32, 16))
    assert shown.size == (32, 32)
    assert distance(shown, photo) < 5
    assert distance(half_block_picture(characters(photo, 32, 16, "256")), photo) < 25
    assert distance(half_block_picture(characters(photo, 32, 16, "16")), photo) < 30, "shades mix more than sixteen"
    assert distance(shown, photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM)) > 20


def test_every_cell_has_the_width_of_one_and_equal_neighbours_are_one_segment(photo: Image.Image) -> None:
    strips = characters(photo, 32, 16)
    assert [strip.cell_length for strip in strips] == [32] * 16
    plain = characters(Image.new("RGB", (64, 64), "red"), 32, 16)
    assert all(len(list(strip)) == 1 for strip in plain)


@pytest.mark.parametrize("cells", ["ascii", "half", "quadrant", "sextant"])
def test_without_colours_brightness_becomes_characters(cells: Cells, photo: Image.Image) -> None:
    strips = characters(photo, 48, 24, "mono", cells=cells)
    assert "\x1b" not in "".join(
        strip.render(Console(color_system="truecolor", force_terminal=True)) for strip in strips
    )
    assert [strip.cell_length for strip in strips] == [48] * 24
    shown, wanted = (
        [value / 255 for value in picture.convert("L").resize((12, 12), Image.Resampling.BOX).tobytes()]
        for picture in (half_block_picture(strips), photo)
    )
    mean = [sum(values) / len(values) for values in (shown, wanted)]
    both = sum((one - mean[0]) * (other - mean[1]) for one, other in zip(shown, wanted, strict=True))
    spread = [sum((value - m) ** 2 for value in values) for values, m in zip((shown, wanted), mean, strict=True)]
    assert both / (spread[0] * spread[1]) ** 0.5 > 0.9, "bright is bright, dark is dark"
    if cells == "ascii":
        assert "".join(strip.text for strip in strips).isascii()


@pytest.mark.parametrize("depth", ["truecolor", "256"])
def test_quadrants_and_sextants_are_finer_than_half_blocks(depth: Depth, repo: Path) -> None:
    text = Image.new("RGB", (96, 96), "navy")
    text.paste("white", (44, 0, 48, 96))  # half a cell wide
    text.paste("white", (0, 50, 96, 54))
    shown = {
        cells: distance(text, half_block_picture(characters(text, 12, 6, depth, cells=cells)))
        for cells in ("half", "quadrant", "sextant")
    }
    assert shown["quadrant"] < shown["half"] and shown["sextant"] < shown["half"]


@pytest.mark.parametrize("cells", ["quadrant", "sextant"])
def test_their_previews_are_limited_too(cells: Cells, photo: Image.Image, noise: Image.Image) -> None:
    for picture in (photo, noise):
        for depth in ("truecolor", "256", "16"):
            strips = characters(picture, 32, 16, depth, 10_000, cells)
            assert written(strips, depth) <= 10_000


def test_a_smaller_limit_costs_detail_not_size(noise: Image.Image) -> None:
    sizes = [written(characters(noise, 32, 16, "truecolor", limit), "truecolor") for limit in (14_000, 6_000, 3_000)]
    assert all(size <= limit for size, limit in zip(sizes, (14_000, 6_000, 3_000), strict=True))


@pytest.mark.parametrize("area", [(32, 16), (46, 23), (60, 30)])
def test_kitty_gets_the_picture_once_small_and_silently(
    area: tuple[int, int], photo: Image.Image, noise: Image.Image
) -> None:
    for picture, tolerance in ((photo, 8), (noise, 60)):
        sequences = kitty.transmit(4711, kitty.encode(picture, kitty.free_bytes(*area)), *area, {})
        cells = kitty.placeholder_strips(4711, *area)
        assert len(sequences) + written(cells, "truecolor") <= 12_000
        ((number, (keys, shown)),) = kitty_pictures(sequences).items()
        assert number == 4711
        assert (keys["U"], keys["c"], keys["r"]) == ("1", str(area[0]), str(area[1]))
        assert max(shown.size) <= 128
        assert distance(shown, picture) < tolerance


def test_every_placeholder_has_its_place_and_finds_it_again_in_a_part() -> None:
    number = 0x123456
    strips = kitty.placeholder_strips(number, 40, 3)
    whole = placed_cells(strips, kitty._marks())
    assert whole == {(x, y): (number, x, y) for x in range(40) for y in range(3)}
    part = placed_cells([strip.crop(8, 19) for strip in strips[1:]], kitty._marks())
    assert part == {(x, y): (number, x + 8, y + 1) for x in range(11) for y in range(2)}
    cut = placed_cells([strip.crop(5, 19) for strip in strips[1:]], kitty._marks())
    assert {place: cell for place, cell in cut.items() if place[0] >= 3} == {
        (x, y): (number, x + 5, y + 1) for x in range(3, 14) for y in range(2)
    }
    assert [strip.cell_length for strip in strips] == [40] * 3


def test_kitty_forgets_what_is_deleted_and_tmux_hands_everything_on() -> None:
    png = kitty.encode(Image.new("RGB", (8, 8), "blue"), 5_000)
    kept = kitty.transmit(7, png, 4, 2, {}) + kitty.transmit(8, png, 4, 2, {}) + kitty.delete(7, {})
    assert list(kitty_pictures(kept)) == [8]
    tmux = {"TMUX": "socket,1,0"}
    through = kitty.transmit(7, png, 4, 2, tmux) + kitty.transmit(8, png, 4, 2, tmux) + kitty.delete(7, tmux)
    assert unwrapped_of_tmux(through) == kept


@pytest.mark.parametrize("depth", ["truecolor", "256"])
def test_a_pictures_number_survives_the_colours_of_the_terminal(depth: Depth) -> None:
    """With 256 colours Rich replaces every colour by the nearest of the palette, and kitty reads its number there."""
    numbers = kitty.image_ids(true_colour=depth == "truecolor")
    console = Console(color_system=SYSTEMS[depth], force_terminal=True)  # type: ignore[arg-type]
    for number in (next(numbers) for _ in range(300)):
        text = kitty.placeholder_strips(number, 1, 1)[0].render(console)
        red, green, blue = number >> 16, number >> 8 & 255, number & 255
        expected = f"38;2;{red};{green};{blue}" if depth == "truecolor" else f"38;5;{number}"
        assert text.startswith(f"\x1b[{expected}m")


@pytest.mark.few(1)
@pytest.mark.parametrize("area", [(32, 16), (60, 30)])
def test_sixel_draws_the_picture_as_large_as_its_cells_in_at_most_20_kb(
    area: tuple[int, int], photo: Image.Image, noise: Image.Image
) -> None:
    for picture, tolerance in ((noise, 60), (photo, 12)):
        sequence = sixel.encode(picture, *area, (10, 20))
        assert len(sequence) <= 20_000
        shown = sixel_picture(sequence)
        assert shown.size == (area[0] * 10, area[1] * 20 // 6 * 6)
        assert distance(shown, picture) < tolerance
    assert distance(shown, photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM)) > 20


@pytest.mark.few(1)
@pytest.mark.parametrize("limit", [20_000, 60_000, 200_000, 1_500_000])
def test_sixel_and_inline_images_are_as_fine_as_the_line_allows(
    limit: int, photo: Image.Image, noise: Image.Image
) -> None:
    for picture in (noise, photo):
        for encode in (sixel.encode, iterm.encode):
            assert len(encode(picture, 46, 23, (10, 20), limit)) <= limit
    sequence = sixel.encode(photo, 46, 23, (10, 20), limit)
    if limit >= 1_500_000:
        assert len({*re.findall(r"#(\d+)", sequence)}) > 200
        assert distance(sixel_picture(sequence), photo) < 4
        assert distance(inline_picture(iterm.encode(photo, 46, 23, (10, 20), limit))[1], photo) < 4


@pytest.mark.parametrize("colours", [2, 16, 64, 256])
def test_sixel_has_no_more_colours_than_the_terminal(colours: int, photo: Image.Image) -> None:
    for limit in (20_000, 1_500_000):
        sequence = sixel.encode(photo, 46, 23, (10, 20), limit, colours)
        assert max(int(number) for number in re.findall(r"#(\d+)", sequence)) < colours


def test_few_colours_are_mixed_of_dots(photo: Image.Image) -> None:
    """What is looked at from afar is nearer to the picture with dots than without."""
    near, far = sixel.dithered(photo, (460, 456), 16), photo.resize((460, 456)).quantize(16, Image.Quantize.MEDIANCUT)
    wanted = photo.resize((460, 456)).filter(ImageFilter.GaussianBlur(4))
    blurred = [picture.convert("RGB").filter(ImageFilter.GaussianBlur(4)) for picture in (near, far)]
    errors = [sum(ImageStat.Stat(ImageChops.difference(picture, wanted)).mean) for picture in blurred]
    assert errors[0] < errors[1] * 0.8


def test_an_inline_image_says_its_size_in_cells_and_bytes(photo: Image.Image) -> None:
    given, picture = inline_picture(iterm.encode(photo, 46, 23, (10, 20), 20_000))
    assert (given["width"], given["height"], given["inline"]) == ("46", "23", "1")
    assert given["preserveAspectRatio"] == "0" and distance(picture, photo) < 8


@pytest.mark.parametrize("defining_selects", [False, True], ids=["as foot and xterm", "as libsixel"])
@pytest.mark.parametrize(("detail", "colours"), [(None, 32), (64, 16), (None, 256)])
def test_every_terminal_draws_sixel_in_the_same_colours(
    detail: int | None, colours: int, defining_selects: bool, photo: Image.Image
) -> None:
    pixels = sixel.quantised(photo, (320, 300), detail, colours)
    shown = sixel_picture(sixel.drawn(pixels), defining_selects=defining_selects)
    assert "-\x1b" not in sixel.drawn(pixels), "a row too many in foot"
    furthest = max(ImageChops.difference(shown, pixels.convert("RGB")).tobytes())
    assert furthest <= 2, "sixel counts colours in hundredths"


def test_a_picture_is_shown_in_its_own_proportions() -> None:
    assert image.fit((512, 512), 60, 30, (1, 2)) == (60, 30)
    assert image.fit((512, 512), 80, 20, (10, 20)) == (40, 20)
    assert image.fit((512, 768), 60, 30, (1, 2)) == (40, 30)
    assert image.fit((4000, 10), 40, 20, (1, 2)) == (40, 1)
    assert image.fit((10, 4000), 40, 20, (1, 2)) == (1, 20)


def png(width: int, height: int) -> bytes:
    """A file that says that it has this many pixels, and has one."""
    file = BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def jpeg() -> bytes:
    file = BytesIO()
    Image.effect_noise((200, 200), 90).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an image"),
        (b"\x1b]0;owned\x07 not an image", "not an image"),
        (jpeg()[:3000], "damaged"),
        (jpeg()[:20], "damaged"),
        (png(300, 300)[:60], "damaged"),
        (png(9000, 9000), "9000x9000 pixels is too large"),
        (png(20_000, 20_000), "too large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    ],
)
def test_what_is_no_sound_picture_becomes_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(image.PictureError, match=words):
        image.read(data, 128, 128)

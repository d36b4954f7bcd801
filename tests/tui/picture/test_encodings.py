"""What each protocol writes: the right pixels, in few bytes."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from rich.console import Console
from textual.strip import Strip

from sdterm.tui.picture import image, kitty, sixel
from sdterm.tui.picture.half import half_blocks
from sdterm.tui.picture.support import Depth
from tests.tui.picture.reader import (
    distance,
    half_block_picture,
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
        assert written(half_blocks(picture, 32, 16, depth, 14_000), depth) <= 14_000


def test_half_blocks_show_the_picture(photo: Image.Image) -> None:
    shown = half_block_picture(half_blocks(photo, 32, 16))
    assert shown.size == (32, 32)
    assert distance(shown, photo) < 5
    assert distance(half_block_picture(half_blocks(photo, 32, 16, "256")), photo) < 25
    assert distance(half_block_picture(half_blocks(photo, 32, 16, "16")), photo) < 60
    assert distance(shown, photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM)) > 20


def test_every_cell_has_the_width_of_one_and_equal_neighbours_are_one_segment(photo: Image.Image) -> None:
    strips = half_blocks(photo, 32, 16)
    assert [strip.cell_length for strip in strips] == [32] * 16
    plain = half_blocks(Image.new("RGB", (64, 64), "red"), 32, 16)
    assert all(len(list(strip)) == 1 for strip in plain)


def test_without_colours_brightness_becomes_characters() -> None:
    strips = half_blocks(Image.linear_gradient("L").rotate(90), 10, 2, "mono")
    assert [strip.text for strip in strips] == ["  ░░▒▒▓▓██"] * 2
    assert "\x1b" not in strips[0].render(Console(color_system="truecolor", force_terminal=True))


def test_a_smaller_limit_costs_detail_not_size(noise: Image.Image) -> None:
    sizes = [written(half_blocks(noise, 32, 16, "truecolor", limit), "truecolor") for limit in (14_000, 6_000, 3_000)]
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


@pytest.mark.parametrize("defining_selects", [False, True], ids=["as foot and xterm", "as libsixel"])
@pytest.mark.parametrize(("detail", "colours"), [(None, 32), (64, 16), (None, 256)])
def test_every_terminal_draws_sixel_in_the_same_colours(
    detail: int | None, colours: int, defining_selects: bool, photo: Image.Image
) -> None:
    pixels = sixel.quantised(photo, (320, 300), detail, colours)
    shown = sixel_picture(sixel.drawn(pixels), defining_selects=defining_selects)
    furthest = max(ImageChops.difference(shown, pixels.convert("RGB")).tobytes())
    assert furthest <= 2, "sixel counts colours in hundredths"


def test_a_picture_is_shown_in_its_own_proportions() -> None:
    assert image.fit((512, 512), 60, 30, (1, 2)) == (60, 30)
    assert image.fit((512, 512), 80, 20, (10, 20)) == (40, 20)
    assert image.fit((512, 768), 60, 30, (1, 2)) == (40, 30)
    assert image.fit((4000, 10), 40, 20, (1, 2)) == (40, 1)
    assert image.fit((10, 4000), 40, 20, (1, 2)) == (1, 20)


def png(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def jpeg() -> bytes:
    file = BytesIO()
    Image.effect_noise((200, 200), 90).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no image"),
        (b"\x1b]0;owned\x07 not an image", "no image"),
        (jpeg()[:3000], "damaged"),
        (jpeg()[:20], "damaged"),
        (png(300, 300)[:60], "damaged"),
        (png(9000, 9000), "9000x9000 pixels is too large"),
        (png(20_000, 20_000), "too large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image"),
    ],
)
def test_what_is_no_sound_picture_becomes_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(image.PictureError, match=words):
        image.read(data, 128, 128)

"""What a terminal would show of kitty's, sixel's and iTerm2's sequences and of characters, by the bytes alone."""

import re
from base64 import standard_b64decode
from io import BytesIO

from PIL import Image
from rich.color import Color
from rich.color_triplet import ColorTriplet
from textual.strip import Strip

PLACEHOLDER = "\U0010eeee"


def kitty_pictures(sequences: str) -> dict[int, tuple[dict[str, str], Image.Image]]:
    """The pictures that the terminal keeps after these sequences, with the keys they were sent with."""
    kept: dict[int, tuple[dict[str, str], Image.Image]] = {}
    keys: dict[str, str] = {}
    data = ""
    for content in re.findall("\x1b_G([^\x1b]*)\x1b\\\\", sequences):
        control, _, chunk = content.partition(";")
        own = dict(part.split("=", 1) for part in control.split(","))
        if own.get("a") == "q":  # a question, whose answer is awaited
            continue
        assert own.get("q") == "2", "the terminal would answer, and the answer would be typed into the prompt"
        assert len(chunk) <= 4096
        if own.get("a") == "d":
            kept.pop(int(own["i"]), None)
            continue
        keys = keys or own
        data += chunk
        if own.get("m", "0") == "0":
            assert keys["a"] == "T" and keys["f"] == "100"
            kept[int(keys.get("i", 0))] = keys, Image.open(BytesIO(standard_b64decode(data))).convert("RGB")
            keys, data = {}, ""
    return kept


def unwrapped_of_tmux(sequences: str) -> str:
    """What tmux would hand on to the terminal behind it."""
    return "".join(
        passed.replace("\x1b\x1b", "\x1b")
        for passed in re.findall("\x1bPtmux;((?:\x1b\x1b|[^\x1b])*)\x1b\\\\", sequences)
    )


def placed_cells(strips: list[Strip], diacritics: str) -> dict[tuple[int, int], tuple[int, int, int]]:
    """For every placeholder by its column and row: the picture's number, and the column and row of it shown there."""
    cells: dict[tuple[int, int], tuple[int, int, int]] = {}
    for y, strip in enumerate(strips):
        x = 0
        for text, style, _ in strip:
            for cell in re.findall(f"{PLACEHOLDER}[{diacritics}]*|.", text):
                if cell.startswith(PLACEHOLDER) and style is not None and style.color is not None:
                    red, green, blue = style.color.get_truecolor()
                    number = red << 16 | green << 8 | blue
                    if cell == PLACEHOLDER:  # it counts on from its left neighbour, if that shows the same picture
                        before = cells.get((x - 1, y))
                        column, row = (before[1] + 1, before[2]) if before and before[0] == number else (0, 0)
                    else:
                        row, column = (diacritics.index(mark) for mark in cell[1:])
                    cells[x, y] = number, column, row
                x += 1
    return cells


def sixel_picture(sequence: str, *, defining_selects: bool = False) -> Image.Image:
    """The pixels; those that no colour was given are black. Whether a colour that is defined is also the one to draw
    with from then on: terminals differ (libsixel: yes; foot and xterm: no)."""
    match = re.fullmatch('\x1bP[0-9;]*q"1;1;(\\d+);(\\d+)(.*)\x1b\\\\', sequence, re.DOTALL)
    assert match, sequence[:40]
    width, height = int(match[1]), int(match[2])
    image = Image.new("RGB", (width, height))
    pixels = image.load()
    assert pixels is not None
    palette: dict[int, tuple[int, int, int]] = {}
    colour = x = band = 0
    for command, run, raw in re.findall(r"#([\d;]+)|!(\d+)|([?-~$-])", match[3]):
        if command:
            number, *definition = map(int, command.split(";"))
            if defining_selects or not definition:
                colour = number
            if definition:
                assert definition[0] == 2
                red, green, blue = (round(value * 2.55) for value in definition[1:])
                palette[number] = red, green, blue
            repeat = 1
        elif run:
            repeat = int(run)
        elif raw == "$":
            x = 0
        elif raw == "-":
            x, band = 0, band + 6
        else:
            for bit in range(6):
                if (ord(raw) - 63) >> bit & 1:
                    for column in range(x, x + repeat):
                        assert column < width and band + bit < height, "the picture is larger than it says"
                        pixels[column, band + bit] = palette[colour]
            x += repeat
            repeat = 1
    return image


def inline_picture(sequence: str) -> tuple[dict[str, str], Image.Image]:
    """iTerm2's: what is said of it, and the picture."""
    match = re.fullmatch("\x1b]1337;File=([^:\x07]*):([A-Za-z0-9+/=]*)\x07", sequence)
    assert match, sequence[:80]
    given = dict(part.split("=", 1) for part in match[1].split(";"))
    file = standard_b64decode(match[2])
    assert int(given["size"]) == len(file)
    return given, Image.open(BytesIO(file)).convert("RGB")


WHITE, BLACK = ColorTriplet(255, 255, 255), ColorTriplet(0, 0, 0)
_SHADES = " ░▒▓█"
_LETTERS = " .:-=+*#%@"
_QUADRANTS = {sign: bits for bits, sign in enumerate(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█")}


def half_block_picture(strips: list[Strip]) -> Image.Image:
    """Two pixels a cell, or six by two where there are characters that show more."""
    whole = Image.new("RGB", (2 * strips[0].cell_length, 6 * len(strips)))
    has_halves_alone = True
    for y, strip in enumerate(strips):
        x = 0
        for text, style, _ in strip:
            fore = _rgb(style.color if style else None, WHITE)
            back = _rgb(style.bgcolor if style else None, BLACK)
            for character in text:
                has_halves_alone = has_halves_alone and character in " ▀"
                for place, share in enumerate(_covered(character)):
                    pixel = tuple(round(a * share + b * (1 - share)) for a, b in zip(fore, back, strict=True))
                    whole.putpixel((2 * x + place % 2, 6 * y + place // 2), pixel)
                x += 1
    size = strips[0].cell_length, 2 * len(strips)
    return whole.resize(size, Image.Resampling.NEAREST) if has_halves_alone else whole


def _covered(character: str) -> list[float]:
    """How much of each twelfth of a cell has the foreground's colour: line by line, of two each."""
    code = ord(character) - 0x1FB00
    if 0 <= code < 60:  # sextants; two of 64 are older characters
        bits = code + 1 + (code >= 20) + (code >= 40)
        return [float(bits >> (2 * (line // 2) + column) & 1) for line in range(6) for column in range(2)]
    if character in _SHADES:
        return [_SHADES.index(character) / 4] * 12
    if character in _QUADRANTS:
        bits = _QUADRANTS[character]
        return [float(bits >> (2 * (line // 3) + column) & 1) for line in range(6) for column in range(2)]
    return [_LETTERS.index(character) / 9] * 12


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of a channel, 0 … 255."""
    other = other.convert("RGB").resize(one.size, Image.Resampling.BOX)
    pairs = list(zip(one.convert("RGB").tobytes(), other.tobytes(), strict=True))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def _rgb(colour: Color | None, otherwise: ColorTriplet) -> tuple[int, int, int]:
    red, green, blue = colour.get_truecolor() if colour else otherwise
    return red, green, blue

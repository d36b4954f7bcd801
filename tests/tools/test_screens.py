"""The pictures of the workstation in README and tour."""

import subprocess
from pathlib import Path

import pytest

from tools.screens import CELL, painted


def test_what_a_terminal_shows_is_painted() -> None:
    try:
        named = subprocess.run(["fc-match", "-f", "%{file}", "monospace"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs fc-match")
    font = Path(named.stdout)
    lines = "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[7m \x1b[0m\n\x1b[38;2;0;255;0mM\x1b[0m"
    picture = painted(lines, font, font)
    width, height = CELL
    assert picture.size == (2 * width, 2 * height)
    assert picture.getpixel((0, 0)) == (255, 0, 0) and picture.getpixel((0, height - 1)) == (0, 0, 255)
    assert picture.getpixel((width, 0)) == (255, 0, 0), "reversed"
    letter = picture.crop((0, height, width, 2 * height)).getcolors()
    assert letter and len(letter) > 1, "something is written there"

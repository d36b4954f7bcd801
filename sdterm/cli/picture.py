"""A picture in the terminal: kitty's protocol, sixel, or half blocks, by what the terminal answers."""

import os
import re
import select
import sys
import time
from pathlib import Path

from PIL import Image as Picture
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from sdterm.tui.picture.support import ANSWER, QUESTION, is_to_be_asked

_WHAT_CAN_YOU_DO = "\x1b[c"
_ATTRIBUTES = re.compile(r"\x1b\[\?[\d;]*c")  # the answer
_PATIENCE = 5.0  # seconds


def show_picture(console: Console, path: Path) -> None:
    """Print the picture, no wider than the terminal and no taller than its rows less a few for the words."""
    rows = min(max(4, console.height - 6), _native_rows(path, console.width))
    if kind := _renderable():
        console.print(kind(path, width="auto", height=rows))
        return
    with Picture.open(path) as picture:
        columns = min(console.width, rows * 2 * picture.width // picture.height)
        console.print(half_blocks(picture, columns, rows))


def half_blocks(picture: Picture.Image, columns: int, rows: int) -> Segments:
    """A picture of so many cells, each an upper half block: two pixels, in any terminal that has colours."""
    small = picture.convert("RGB").resize((max(1, columns), 2 * max(1, rows)))
    values = small.tobytes()
    colours = [Color.from_rgb(*values[start : start + 3]) for start in range(0, len(values), 3)]
    lines = [colours[start : start + small.width] for start in range(0, len(colours), small.width)]
    segments: list[Segment] = []
    for upper, lower in zip(lines[::2], lines[1::2], strict=True):
        segments += [Segment("▀", Style(color=u, bgcolor=low)) for u, low in zip(upper, lower, strict=True)]
        segments.append(Segment.line())
    return Segments(segments)


def terminal_name() -> str:
    """What the terminal calls itself; nothing if it does not say. It is asked only where nothing else can tell, and
    waited for until it has answered a second question, which every terminal knows: so no answer is left for the shell,
    if it comes in time."""
    if not (is_to_be_asked(os.environ) and sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    heard = ""
    try:
        tty.setcbreak(sys.stdin)
        print(QUESTION + _WHAT_CAN_YOU_DO, end="", flush=True)
        end = time.monotonic() + _PATIENCE
        while not _ATTRIBUTES.search(heard) and select.select([sys.stdin], [], [], max(0, end - time.monotonic()))[0]:
            heard += os.read(sys.stdin.fileno(), 1024).decode(errors="replace")
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    answer = ANSWER.search(heard)
    return answer[1] if answer else ""


def _renderable() -> type | None:
    """What the terminal can do beyond half blocks. textual-image asks it when any part of it is imported, and reads the
    answer from standard input: where that is no terminal, there is nobody to answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    from textual_image import renderable

    return renderable.Image


def _native_rows(path: Path, columns: int) -> int:
    """Rows that the picture needs at the full width, two pixels a row."""
    with Picture.open(path) as picture:
        width, height = picture.size
    return max(1, min(columns, width) * height // (2 * width))

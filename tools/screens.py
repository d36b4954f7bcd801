"""Take pictures of the workstation for README and tour: `python -m tools.screens OUT`.

It is driven by keys in tmux, with the demo model and a data folder of its own; what tmux shows is painted. Needs tmux,
and the monospace font that `fc-match` names.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

CELL = 10, 19
_POINTS = 16
_WITHIN = 120.0  # seconds
_BETWEEN = 1.0  # seconds after keys: as hands are, not all at once
_SIZE = 120, 36
_INK, _PAPER = (208, 208, 208), (18, 18, 18)
_HALVES = {"▀": (0, 0, 1, 0.5), "▄": (0, 0.5, 1, 1), "█": (0, 0, 1, 1), "▌": (0, 0, 0.5, 1), "▐": (0.5, 0, 1, 1)}

Colour = tuple[int, int, int]


class Terminal:
    """The workstation in a tmux of its own."""

    def __init__(self, folder: Path, data: Path, **settings: str) -> None:
        self._tmux = ["tmux", "-f", os.devnull, "-S", str(folder / f"socket{len([*folder.iterdir()])}")]
        environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR")}
        environment |= {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LC_ALL": "C.UTF-8",
            "SDTERM_DATA": str(data),
        }
        self._environment = environment | settings
        columns, rows = _SIZE
        program = shlex.join([sys.executable, "-m", "sdterm"])
        self._call("new-session", "-d", "-x", str(columns), "-y", str(rows), f"env -u TMUX {program}")
        self._call("set", "-g", "status", "off")
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    def _call(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._environment, capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)
        time.sleep(_BETWEEN)

    def until(self, wanted: str) -> None:
        """Wait until the screen matches that expression, and stays as it is."""
        deadline, before = time.monotonic() + _WITHIN, ""
        while not re.search(wanted, shown := self._call("capture-pane", "-p")) or shown != before:
            if time.monotonic() > deadline:
                raise SystemExit(f"{wanted} never came:\n{shown}")
            before = shown
            time.sleep(0.5)

    def picture(self, font: Path, bold: Path) -> Image.Image:
        return painted(self._call("capture-pane", "-p", "-e", "-N"), font, bold)

    def close(self) -> None:
        self._call("kill-server")


def painted(screen: str, font: Path, bold: Path) -> Image.Image:
    """What a terminal shows for these lines with escape sequences."""
    lines = [[*line.render(Console(color_system="truecolor"))] for line in AnsiDecoder().decode(screen.rstrip("\n"))]
    width, height = CELL
    columns = max(sum(segment.cell_length for segment in line if segment.text != "\n") for line in lines)
    picture = Image.new("RGB", (columns * width, len(lines) * height), _PAPER)
    draw = ImageDraw.Draw(picture)
    fonts = [ImageFont.truetype(str(path), _POINTS) for path in (font, bold)]
    for y, line in enumerate(lines):
        for x, character, style in _cells(line):
            ink, paper = _colours(style)
            left, top, right = x * width, y * height, (x + cell_len(character)) * width
            draw.rectangle((left, top, right - 1, top + height - 1), fill=paper)
            if character in _HALVES:
                x1, y1, x2, y2 = _HALVES[character]
                corners = (left + x1 * width, top + y1 * height, left + x2 * width - 1, top + y2 * height - 1)
                draw.rectangle(corners, fill=ink)
            elif not character.isspace():
                draw.text((left, top), character, font=fonts[bool(style.bold)], fill=ink)
            if style.underline:
                draw.line((left, top + height - 2, right - 1, top + height - 2), fill=ink)
    return picture


def _cells(line: list[Segment]) -> Iterator[tuple[int, str, Style]]:
    x = 0
    for text, style, _ in line:
        for character in text.strip("\n"):
            yield x, character, style or Style.null()
            x += cell_len(character)


def _colours(style: Style) -> tuple[Colour, Colour]:
    ink: Colour = tuple(style.color.get_truecolor()) if style.color and not style.color.is_default else _INK  # type: ignore[assignment]
    back = style.bgcolor
    paper: Colour = tuple(back.get_truecolor(foreground=False)) if back and not back.is_default else _PAPER  # type: ignore[assignment]
    if style.dim:
        red, green, blue = ((a + b) // 2 for a, b in zip(ink, paper, strict=True))
        ink = red, green, blue
    return (paper, ink) if style.reverse else (ink, paper)


def taken(folder: Path, data: Path, font: Path, bold: Path) -> Iterator[tuple[str, Image.Image]]:
    """Each picture, by its name."""
    with _open(folder, data) as terminal:
        terminal.until(r"0/75(.|\n)*(\n *\n idle|Demo model only)(.|\n)*sdterm-demo")  # no news of extensions any more
        yield "first", terminal.picture(font, bold)
        terminal.press("M-1")
        terminal.until(r"#1 done")
        terminal.press("F8")
        terminal.until(r"#2 done")
        terminal.press("M-r")
        terminal.until(r"Recent  1-9")
        terminal.press("2", "Space", "4", "Space", "c")
        terminal.until(r"PSNR")
        yield "compare", terminal.picture(font, bold)
        terminal.press("Escape")
        terminal.until(r"Recent  1-9")
        yield "workstation", terminal.picture(font, bold)
        for number in (2, 3):
            terminal.press("F2")
            terminal.press("M-c")
            terminal.press("-l", _MORE[number - 2])
            terminal.press("F5")
            terminal.until(rf"#{number + 1} done")
    with _open(folder, data, SDTERM_THEME="sdterm-light") as terminal:
        terminal.until(r"seed \d+")
        terminal.press("F3")
        terminal.until(r"Gallery +\d+ images")
        yield "gallery", terminal.picture(font, bold)


_MORE = "orange cat, blue background", "red rocket in space"


@contextmanager
def _open(folder: Path, data: Path, **settings: str) -> Iterator[Terminal]:
    terminal = Terminal(folder, data, **settings)
    try:
        yield terminal
    finally:
        terminal.close()


def _monospace(style: str) -> Path:
    named = subprocess.run(
        ["fc-match", "-f", "%{file}", f"monospace:{style}"], capture_output=True, text=True, check=True
    )
    return Path(named.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder that gets the pictures")
    out: Path = parser.parse_args().out
    data = Path(tempfile.gettempdir(), "sdterm")  # its name is to be read in the pictures
    data.mkdir()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, picture in taken(Path(folder), data, _monospace("regular"), _monospace("bold")):
                picture.quantize(256, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
    finally:
        subprocess.run([sys.executable, "-m", "sdterm", "host", "stop"], env={**os.environ, "SDTERM_DATA": str(data)})
        shutil.rmtree(data)


if __name__ == "__main__":
    main()

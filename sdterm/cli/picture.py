"""A picture in the terminal: kitty's, iTerm2's or sixel's pixels, or characters. The terminal is asked what it has
once, as the workstation asks it, and both remember what it said."""

import os
import select
import sys
import time
from io import BytesIO
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.segment import Segment, Segments

from sdterm.cli.errors import say
from sdterm.messages import message
from sdterm.tui.picture.asking import LIMIT, Answers, Ear, questions
from sdterm.tui.picture.cell import cell_size, known_cell_size
from sdterm.tui.picture.image import PictureError, fit, read
from sdterm.tui.picture.line import MOST
from sdterm.tui.picture.remembered import recall, remember
from sdterm.tui.picture.support import CELLS, Cells, Depth, Support, Terminal
from sdterm.tui.picture.tmux import ask_tmux


def show_picture(console: Console, path: Path, how: Support, heard: Answers | None) -> None:
    """Print a picture, no wider than the terminal and no taller than its rows less a few for the words. heard: what the
    terminal said of itself."""
    cells = next((cells for cells in CELLS if cells == how.protocol), None)
    cell = cell_size(heard.cell if heard else None)
    most = console.width, max(4, console.height - 6)
    try:
        picture = read(path.read_bytes(), most[0] * cell[0], most[1] * cell[1])
    except PictureError as error:
        say(str(error))
        return
    except OSError as error:
        say(message("The image cannot be shown: {error}.", error=error.strerror or error))
        return
    columns, rows = fit(picture.size, min(most[0], picture.width), most[1], cell)
    if cells:
        console.print(in_characters(picture, columns, rows, how.depth, cells))
        return
    if how.protocol == "kitty" and os.environ.get("TMUX"):
        _print_in_tmux(console, picture, columns, rows)
        return
    drawn = _pixels(picture, columns, rows, cell, how, heard)
    # on rows that are there already: where it ends, terminals differ, and none of them scrolls
    console.file.write("\n" * rows + f"\x1b7\x1b[{rows}A{drawn}\x1b8")
    console.file.flush()


def _pixels(
    picture: Image.Image, columns: int, rows: int, cell: tuple[int, int], how: Support, heard: Answers | None
) -> str:
    """The escape sequence that draws it from the cursor on, as fine as the terminal can."""
    from sdterm.tui.picture import iterm, kitty, sixel

    if how.protocol == "sixel":
        colours = min(sixel.COLOURS, (heard.colours if heard else 0) or sixel.COLOURS)
        return sixel.encode(picture, columns, rows, cell, MOST, colours)
    file = BytesIO()
    picture.save(file, "PNG")
    if how.protocol == "iterm":
        return iterm.drawn(file.getvalue(), columns, rows)
    return kitty.transmit(None, file.getvalue(), columns, rows)


def _print_in_tmux(console: Console, picture: Image.Image, columns: int, rows: int) -> None:
    """For kitty behind tmux: only tmux knows where on the screen this is, so cells stand for the pixels."""
    from sdterm.tui.picture import kitty

    number = next(kitty.image_ids(console.color_system == "truecolor"))
    columns, rows = min(columns, kitty.MOST), min(rows, kitty.MOST)
    console.file.write(kitty.transmit(number, kitty.encode(picture, MOST, picture.size), columns, rows))
    strips = kitty.placeholder_strips(number, columns, rows)
    console.print(Segments([segment for strip in strips for segment in (*strip, Segment.line())]))


def in_characters(picture: Image.Image, columns: int, rows: int, depth: Depth, cells: Cells) -> Segments:
    """A picture of so many cells."""
    from sdterm.tui.picture.characters import characters  # a tenth of a second, not owed before there is a picture

    strips = characters(picture, columns, rows, depth, cells=cells)
    return Segments([segment for strip in strips for segment in (*strip, Segment.line())])


def known_terminal(root: Path) -> Terminal:
    """This terminal, with what it says of itself. It is asked only if it was not before, or did not answer, and waited
    for until it has answered a question that every terminal knows: so no answer is left for the shell, if it comes in
    time. root: the data folder."""
    terminal = Terminal(os.environ, recall(root, os.environ), ask_tmux(os.environ))
    asked = questions(os.environ, cell_is_known=known_cell_size() is not None)
    if terminal.heard is not None or not asked or not _can_ask():
        return terminal
    answers, is_all = _answers(asked)
    remember(root, os.environ, answers if is_all else None)
    return terminal._replace(heard=answers)


def _can_ask() -> bool:
    """Whether the terminal is there, and this process in its foreground: it stops one of the background that sets its
    mode."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # not the terminal that controls this process
        return True


def _answers(asked: str) -> tuple[Answers, bool]:
    """What it said, and whether that is all."""
    import termios
    import tty

    ear, is_all = Ear(os.get_terminal_size()), False
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        print(asked, end="", flush=True)
        end = time.monotonic() + LIMIT
        while not is_all and select.select([sys.stdin], [], [], max(0, end - time.monotonic()))[0]:
            text = os.read(sys.stdin.fileno(), 1024).decode(errors="replace")
            is_all = any(not isinstance(part, str) and part[1] for part in ear.sift(text))
            if not text:
                break
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    return ear.answers, is_all

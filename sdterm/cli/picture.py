"""A picture in the terminal: by kitty's protocol, as sixel or in half blocks. To show one, nothing is asked: an answer
that comes late would be typed into the shell."""

import os
import re
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
from sdterm.tui.picture.cell import cell_size
from sdterm.tui.picture.image import PictureError, fit, read
from sdterm.tui.picture.support import ANSWER, QUESTION, Depth, Support, is_to_be_asked

_WHAT_CAN_YOU_DO = "\x1b[c"
_ATTRIBUTES = re.compile(r"\x1b\[\?[\d;]*c")  # the answer
_PATIENCE = 5.0  # seconds


def show_picture(console: Console, path: Path, how: Support) -> None:
    """Print a picture, no wider than the terminal and no taller than its rows less a few for the words."""
    cell = (1, 2) if how.protocol == "half" else cell_size()
    most = console.width, max(4, console.height - 6)
    try:
        picture = read(path.read_bytes(), most[0] * cell[0], most[1] * cell[1])
    except PictureError as error:
        say(str(error))
        return
    except OSError as error:
        say(message("The picture cannot be shown: {error}.", error=error.strerror or error))
        return
    columns, rows = fit(picture.size, min(most[0], picture.width), most[1], cell)
    if how.protocol == "half":
        console.print(in_half_blocks(picture, columns, rows, how.depth))
        return
    from sdterm.tui.picture import kitty, sixel

    if how.protocol == "kitty":
        file = BytesIO()
        picture.save(file, "PNG")
        drawn = kitty.transmit(None, file.getvalue(), columns, rows)
    else:
        drawn = sixel.drawn(picture.resize(sixel.area(columns, rows, cell)).quantize(256))
    # on rows that are there already: where it ends, terminals differ, and none of them scrolls
    console.file.write("\n" * rows + f"\x1b7\x1b[{rows}A{drawn}\x1b8")
    console.file.flush()


def in_half_blocks(picture: Image.Image, columns: int, rows: int, depth: Depth) -> Segments:
    """A picture of so many cells, two pixels each."""
    from sdterm.tui.picture.half import half_blocks  # a tenth of a second, which is not owed before there is a picture

    strips = half_blocks(picture, columns, rows, depth)
    return Segments([segment for strip in strips for segment in (*strip, Segment.line())])


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

"""A program for test_terminal.py: shows a few pictures and notes, a line each, what the terminal was heard to say."""

import asyncio
import json
import sys
import time
from io import BytesIO
from pathlib import Path

from PIL import Image
from textual import work
from textual.app import ComposeResult

from sdterm.tui.picture.terminal import PictureApp
from sdterm.tui.picture.widget import PictureView


class Paced(PictureApp[None]):
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield PictureView(mode=sys.argv[2])  # type: ignore[arg-type]

    def on_mount(self) -> None:
        self.measure()

    @work
    async def measure(self) -> None:
        with Path(sys.argv[1]).open("w") as notes:
            for turn in range(int(sys.argv[3])):
                began = time.monotonic()
                written = await self.query_one(PictureView).shown(picture(turn), caption=f"picture {turn}")
                heard = await self.terminal_has_read()
                seconds = time.monotonic() - began
                print(json.dumps({"written": written, "heard": heard, "seconds": seconds}), file=notes, flush=True)
        if sys.argv[4:] == ["stay"]:
            await asyncio.sleep(60)
        self.exit()


def picture(turn: int) -> bytes:
    file = BytesIO()
    hills, slope = Image.radial_gradient("L"), Image.linear_gradient("L")
    Image.merge("RGB", [hills, slope.rotate(90 * turn), slope.rotate(45)]).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    Paced().run()

"""Pictures that a job starts from, and their masks: how they get into the form."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sdterm.tui import calls
from sdterm.tui.shell import Desk, Shell

if TYPE_CHECKING:
    from sdterm.api import Picture


class Sources:
    """What stands in the form's parts Init image and Mask."""

    def __init__(self, shell: Shell, desk: Desk) -> None:
        self._shell, self._desk = shell, desk

    async def mask(self, picture: Picture) -> None:
        """Let a mask be drawn over a picture."""
        data = await self._desk.ask(calls.file(picture.id))
        if data is not None:
            await self._draw_mask(f"{picture.id}", data)

    async def _draw_mask(self, name: str, data: bytes) -> None:
        from sdterm.tui import mask
        from sdterm.tui.picture.image import PictureError, read_whole
        from sdterm.tui.screens.mask import MaskScreen

        try:
            image = await asyncio.to_thread(read_whole, data)
        except PictureError as error:
            self._shell.say(str(error))
            return
        self._desk.app.push_screen(MaskScreen(name, image, mask.blank(*image.size), lambda png: None))

"""The helper process in which sets of plugins are tried out: there while tries are to come."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sdterm.core.extensions.catalogue import Catalogue
from sdterm.core.extensions.probe import MOST_BYTES, TIME_LIMIT, ProbeError, offered, question, recognised
from sdterm.core.extensions.source import Source
from sdterm.core.library.recognition import Recognition
from sdterm.core.text import printable
from sdterm.host.child import Child
from sdterm.messages import message

KEPT, KEPT_WARM = 10.0, 300.0
"""Seconds that it stays after its last try: as it was started, and once it has imported what takes long."""
A = TypeVar("A")
_log = logging.getLogger(__name__)


class Prober:
    """Speaks with the helper. One question at a time. folder: the host's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Child | None = None
        self._lock = asyncio.Lock()
        self._noting: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._is_warm = False

    async def warm(self) -> None:
        """Tries are to come: the helper gets ready for them meanwhile."""
        async with self._lock:
            if not self._is_warm:
                with contextlib.suppress(ConnectionError):  # who asks it will find out
                    await self._send(question([]))
                self._is_warm = True
            self._leave_later()

    async def try_out(self, sources: Sequence[Source]) -> Catalogue:
        """What a set offers. Raises ProbeError."""
        return await self._ask(question(sources), offered, sources)

    async def recognise(self, sources: Sequence[Source], checkpoints: Sequence[Path]) -> list[Recognition]:
        """What a set knows checkpoints as. Raises ProbeError."""
        return await self._ask(question(sources, checkpoints), recognised, sources)

    async def _ask(self, asked: bytes, understood: Callable[[bytes], A], sources: Sequence[Source]) -> A:
        strangers = sum(source.origin != "built-in" for source in sources)
        limit = (4 + strangers) * TIME_LIMIT  # of the helper itself, which gives each plugin its own
        async with self._lock:
            try:
                process = await self._send(asked)
                line = await asyncio.wait_for(process.stdout.readline(), limit)
                if not line:
                    raise ConnectionError
                return understood(line)
            except (ConnectionError, TimeoutError, ValueError) as error:
                await self.end()
                raise ProbeError(message("the process that tries out plugins ended"), passing=True) from error
            finally:
                self._leave_later()

    async def end(self) -> None:
        """Let it go, at once."""
        process, self._process, self._is_warm = self._process, None, False
        if self._leaving:
            self._leaving.cancel()
        if process:
            await process.end()

    async def _send(self, asked: bytes) -> Child:
        if not self._process or not self._process.is_alive:
            self._is_warm = False
            command = [sys.executable, "-P", "-m", "sdterm.core.extensions.probe"]
            self._process = await Child.start(command, self._folder, 2 * MOST_BYTES)
            self._noting = asyncio.create_task(_note(self._process))
        self._process.stdin.write(asked)
        await self._process.stdin.drain()
        return self._process

    def _leave_later(self) -> None:
        if self._leaving:
            self._leaving.cancel()
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(KEPT_WARM if self._is_warm else KEPT, lambda: loop.create_task(self._leave()))

    async def _leave(self) -> None:
        async with self._lock:
            await self.end()


async def _note(process: Child) -> None:
    """What plugins print while they are tried out goes to the host's log."""
    while text := await process.stderr.read(2**16):
        for line in text.decode(errors="replace").splitlines():
            _log.info("probe: %s", printable(line, 2000))

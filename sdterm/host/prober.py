"""The helper process in which sets of plugins are tried out: there while tries are to come."""

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from sdterm.core.catalogue import Catalogue
from sdterm.core.extensions.probe import MOST_BYTES, TIME_LIMIT, ProbeError, answer, question
from sdterm.core.extensions.source import Source
from sdterm.core.names import printable

KEPT, KEPT_WARM = 10.0, 300.0
"""Seconds that it stays after its last try: as it was started, and once it has imported what takes long."""
_log = logging.getLogger(__name__)


class Prober:
    """Speaks with the helper. One question at a time."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self._noting: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._is_warm = False

    async def warm(self) -> None:
        """Tries are to come: the helper gets ready for them meanwhile."""
        async with self._lock:
            if not self._is_warm:
                with contextlib.suppress(ConnectionError):  # who asks it will find out
                    await self._send([])
                self._is_warm = True
            self._leave_later()

    async def try_out(self, sources: Sequence[Source]) -> Catalogue:
        """What a set offers. Raises ProbeError."""
        strangers = sum(source.origin != "built-in" for source in sources)
        limit = (4 + strangers) * TIME_LIMIT  # of the helper itself, which gives each plugin its own
        async with self._lock:
            try:
                process = await self._send(sources)
                assert process.stdout
                line = await asyncio.wait_for(process.stdout.readline(), limit)
                if not line:
                    raise ConnectionError
                return answer(line)
            except (ConnectionError, TimeoutError, ValueError) as error:
                await self.end()
                raise ProbeError("the process that tries out plugins ended", passing=True) from error
            finally:
                self._leave_later()

    async def end(self) -> None:
        """Let it go, at once."""
        process, self._process, self._is_warm = self._process, None, False
        if self._leaving:
            self._leaving.cancel()
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _send(self, sources: Sequence[Source]) -> Process:
        if not self._process or self._process.returncode is not None:
            self._is_warm = False
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "sdterm.core.extensions.probe"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                limit=2 * MOST_BYTES,
            )
            self._noting = asyncio.create_task(_note(self._process))
        assert self._process.stdin
        self._process.stdin.write(question(sources))
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


async def _note(process: Process) -> None:
    """What plugins print while they are tried out goes to the host's log."""
    assert process.stderr
    while text := await process.stderr.read(2**16):
        for line in text.decode(errors="replace").splitlines():
            _log.info("probe: %s", printable(line, 2000))

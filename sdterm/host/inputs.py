"""The inputs that a host keeps: they come over HTTP, are claimed by jobs, and go when nobody refers to them any more.

An input stays as long as a job may go on that names it (whichever is not done or cancelled), or a picture of such a job
is in the gallery or the trash; and for a day after it came, or was last asked for.
"""

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path

from sdterm.core import files
from sdterm.core.inputs import Incoming, InputError, Inputs, UnknownInputError, is_digest
from sdterm.host.database import Database
from sdterm.host.threads import Threads
from sdterm.messages import message
from sdterm.request import RequestError

GRACE = 24 * 3600.0
"""Seconds that an input stays which nothing refers to."""
_BLOCK = 2**20  # bytes that are written at a time

_REFERRED = """
SELECT DISTINCT digest FROM job_inputs JOIN jobs ON jobs.id = job_inputs.job
WHERE jobs.state NOT IN ('done', 'cancelled')
OR EXISTS (SELECT 1 FROM pictures WHERE pictures.job = jobs.id AND (trash IS NULL OR trash != ''))
"""


class KeptInputs:
    """Methods raise SlowDiskError and OSError."""

    def __init__(self, root: Path, database: Database, threads: Threads, clock: Callable[[], float]) -> None:
        self._inputs = Inputs(root)
        self._database, self._threads, self._clock = database, threads, clock
        self._deciding = threading.Lock()  # whether one stays: what is claimed is not removed in the same moment

    async def receive(self, digest: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep what arrives, if it is a picture of that digest; otherwise nothing is left of it. Raises InputError."""
        receiving = self._inputs.receive(digest)
        incoming = await self._threads.run(receiving.__enter__)
        try:
            async for block in _blocks(chunks):
                await self._threads.run(partial(incoming.write, block))
            await self._threads.run(partial(self._keep, incoming, digest))
        finally:
            await self._threads.run(partial(receiving.__exit__, None, None, None))

    async def put(self, data: bytes) -> str:
        """Keep a picture's file; its digest. Raises InputError."""
        digest = await self._threads.run(partial(self._inputs.put, data))
        await self.path(digest)
        return digest

    async def path(self, digest: str) -> Path:
        """Where an input lies; it stays for a day from now. Raises UnknownInputError."""
        try:
            await self._threads.run(partial(self._touch, digest))
        except (InputError, FileNotFoundError) as error:
            raise UnknownInputError(message("There is no such input.")) from error
        return self._inputs.path(digest)

    async def claim(self, named: Mapping[str, str]) -> None:
        """Make sure that all inputs are there which a request names (digest → field), and stay until its job is in the
        queue. Raises RequestError."""
        for digest, field in named.items():
            try:
                await self.path(digest)
            except UnknownInputError as error:
                said = message(
                    "{field} names an image that does not exist here ({digest}…). Upload it first.",
                    field=field,
                    digest=digest[:12],
                )
                raise RequestError(said, field) from error

    async def sweep(self) -> int:
        """Remove what nothing refers to; how many."""
        referred = {row["digest"] for row in self._database.rows(_REFERRED)}
        return await self._threads.run(partial(self._remove_others, referred))

    def _keep(self, incoming: Incoming, digest: str) -> None:
        incoming.keep()
        self._touch(digest)

    def _touch(self, digest: str) -> None:
        with self._deciding:
            os.utime(self._inputs.path(digest), (self._clock(),) * 2, follow_symlinks=False)

    def _remove_others(self, referred: set[str]) -> int:
        removed = 0
        with contextlib.suppress(FileNotFoundError):
            files.sweep(self._inputs.folder)
            for name in filter(is_digest, os.listdir(self._inputs.folder)):
                if name in referred:
                    continue
                with self._deciding, contextlib.suppress(OSError):
                    path = self._inputs.folder / name
                    if self._clock() - path.lstat().st_mtime > GRACE:
                        path.unlink()
                        removed += 1
        return removed


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, in pieces that are worth a thread's time."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= _BLOCK:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)

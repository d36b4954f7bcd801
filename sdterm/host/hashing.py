"""Reads model files for their hashes, one after the other, in threads that end with the host; it can be paused."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from sdterm.api import Hashing
from sdterm.core.library.checkpoints import Library
from sdterm.core.library.hashes import Known, hashes_of
from sdterm.core.library.scan import ModelFile, Stamp
from sdterm.core.text import printable
from sdterm.events import HashingProgress, ModelHashed, Warning
from sdterm.host.log import EventLog
from sdterm.host.threads import in_thread
from sdterm.messages import message

TOLD_EVERY, KEPT_EVERY = 1.0, 5.0
"""Seconds between two events about how far it is, and between two writings of the cache."""


class Hasher:
    """The model files that are to be read, and how far that is."""

    def __init__(self, library: Callable[[], Library], log: EventLog) -> None:
        self._library, self._log = library, log
        self._waiting: deque[tuple[ModelFile, bool]] = deque()
        self._work: asyncio.Task[None] | None = None
        self._going = threading.Event()
        self._going.set()
        self._stopping = False
        self._files = self._files_done = self._bytes = self._bytes_done = 0
        self._told = 0.0

    @property
    def state(self) -> Hashing:
        """How far it is."""
        return Hashing(
            files=self._files,
            files_done=self._files_done,
            bytes=self._bytes,
            bytes_done=self._bytes_done,
            paused=not self._going.is_set(),
        )

    @property
    def is_busy(self) -> bool:
        """Whether files are read now."""
        return self._work is not None and self._going.is_set()

    def add(self, files: Iterable[ModelFile], *, asked: bool = False) -> None:
        """Read these too. asked: for by name, so that they come first, and an event tells of each."""
        there = {file.location: (file, by_name) for file, by_name in self._waiting}
        new = {file.location: (file, asked) for file in files}
        self._files += len(new.keys() - there.keys())
        self._bytes += sum(file.size for place, (file, _) in new.items() if place not in there)
        self._waiting = deque(({**new, **there, **new} if asked else {**there, **new, **there}).values())
        if new and not self._work:
            self._work = asyncio.create_task(self._run())

    def pause(self) -> None:
        """Read nothing more until `resume`."""
        self._going.clear()
        self._tell()

    def resume(self) -> None:
        """Go on."""
        self._going.set()
        self._tell()

    def stop(self) -> None:
        """Leave the rest; what was read is kept."""
        self._waiting.clear()
        self._stopping = True
        self._going.set()

    async def _run(self) -> None:
        found: dict[tuple[str, Stamp], Known] = {}
        told: list[ModelHashed] = []
        kept = time.monotonic()

        async def keep() -> None:
            await in_thread(partial(self._library().hashes.remember, {**found}))
            for event in told:
                self._log.add(None, event)
            found.clear()
            told.clear()

        try:
            while self._waiting:
                file, asked = self._waiting.popleft()
                self._stopping = False  # it came after what was stopped
                if (known := await self._hash(file)) is not None:
                    found[file.location, file.stamp] = known
                    told += [ModelHashed(model=file.name, sha256=known["sha256"], kind=file.kind)] if asked else []
                self._files_done += 1
                if time.monotonic() - kept > KEPT_EVERY or not self._waiting:
                    await keep()
                    kept = time.monotonic()
        finally:
            self._tell(done=True)
            self._files = self._files_done = self._bytes = self._bytes_done = 0
            self._work = None

    async def _hash(self, file: ModelFile) -> Known | None:
        """A file's hashes; None, once that was told, if it cannot be read."""
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, self._tell_now_and_then)

        def read(count: int) -> None:
            self._bytes_done += count
            tell()
            self._going.wait()
            if self._stopping:
                raise InterruptedError

        try:
            return await in_thread(partial(hashes_of, file.path, data=file.kind == "lora", on_read=read))
        except InterruptedError:
            return None
        except OSError as error:
            said = message("{path} cannot be read: {error}.", path=printable(file.location), error=error.strerror)
            self._log.add(None, Warning(code="model_unreadable", message=said))
            return None

    def _tell_now_and_then(self) -> None:
        if time.monotonic() - self._told > TOLD_EVERY:
            self._tell()

    def _tell(self, *, done: bool = False) -> None:
        self._told = time.monotonic()
        self._log.add(None, HashingProgress(**self.state.model_dump(), done=done))

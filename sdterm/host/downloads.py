"""Models on their way into their folders, beside all else that a host does; a few at a time, each in a thread."""

import asyncio
import contextlib
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sdterm.api import Download, DownloadOffer, DownloadRequest, DownloadState
from sdterm.core.files import legible
from sdterm.core.library.downloading import Offer, StoppedError, Wanted, fetch, look, remember, unfinished
from sdterm.core.library.sources import Keys
from sdterm.core.text import printable
from sdterm.core.web import shown
from sdterm.errors import SdtermError
from sdterm.events import DownloadChanged
from sdterm.host.log import EventLog
from sdterm.host.threads import in_thread
from sdterm.messages import message

AT_ONCE = 2
TOLD_EVERY = 1.0
"""Seconds between two events on how far one is."""
_SPEED_OVER = 8.0  # seconds
_KEPT = 100  # of those that ended

_log = logging.getLogger(__name__)


class UnknownDownloadError(SdtermError):
    """There is no download of that number."""

    code = "unknown_download"


@dataclass
class _Running:
    """One download. All but `received` and `stop` belongs to the event loop."""

    id: int
    wanted: Wanted
    offer: Offer
    state: DownloadState = "waiting"
    message: str = ""
    path: Path | None = None
    kind: str | None = None
    sha256: str | None = None
    received: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    told: deque[tuple[float, int]] = field(default_factory=deque)
    """(time, bytes) of the last seconds."""


class Downloads:
    """All of one host. changed: called when a model has come into its folder."""

    def __init__(self, root: Path, log: EventLog, changed: Callable[[], None] = lambda: None) -> None:
        self._root, self._log, self._changed = root, log, changed
        self._all: dict[int, _Running] = {}
        self._numbers = itertools.count(1)
        self._free = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def recover(self) -> None:
        """Go on with what was under way when the last host ended."""
        for wanted in await in_thread(lambda: list(unfinished(self._root))):
            try:
                await self._begin(wanted, Keys(os.environ))
            except (SdtermError, OSError) as error:
                _log.warning("%s does not go on: %s", printable(shown(wanted.source)), error)

    async def look(self, request: DownloadRequest) -> DownloadOffer:
        """What a source is, before anything is fetched. Raises SdtermError."""
        offer = await in_thread(partial(look, _wanted(request), self._root, _keys(request)))
        return DownloadOffer(
            name=legible(offer.name),
            kind=offer.kind,
            folder=legible(str(offer.folder)) if offer.folder else None,
            size=offer.size,
            sha256=offer.sha256,
            licence=offer.licence,
            files=len(offer.remote.files) or 1,
            free=offer.free,
        )

    async def begin(self, request: DownloadRequest) -> Download:
        """Fetch it; one that is under way already is that one. Raises SdtermError."""
        return self.view(await self._begin(_wanted(request), _keys(request)))

    async def _begin(self, wanted: Wanted, keys: Keys) -> int:
        offer = await in_thread(partial(look, wanted, self._root, keys))
        for known in self._all.values():
            if known.state in ("waiting", "running") and known.offer.remote.url == offer.remote.url:
                return known.id
        one = _Running(next(self._numbers), wanted, offer, kind=offer.kind)
        self._all[one.id] = one  # before anything is waited for, so that it begins once
        try:
            await in_thread(partial(remember, wanted, offer, self._root))
        except OSError:
            del self._all[one.id]
            raise
        for old in [known.id for known in self._all.values() if known.state not in ("waiting", "running")][:-_KEPT]:
            del self._all[old]
        self._tell(one)
        task = asyncio.create_task(self._run(one, keys))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return one.id

    async def _run(self, one: _Running, keys: Keys) -> None:
        loop = asyncio.get_running_loop()
        last = time.monotonic()

        def tell(received: int) -> None:
            nonlocal last
            one.received = received
            if (now := time.monotonic()) - last >= TOLD_EVERY:
                last = now
                with contextlib.suppress(RuntimeError):  # the host has ended
                    loop.call_soon_threadsafe(self._progress, one)

        async with self._free:
            if one.state != "waiting":
                return
            one.state = "running"
            self._progress(one)
            try:
                added = await in_thread(partial(fetch, one.offer, self._root, keys, tell, one.stop))
                one.state, one.path, one.kind, one.sha256 = "done", added.path, added.kind, added.sha256
            except StoppedError:
                one.state = "cancelled"
            except SdtermError as error:
                one.state, one.message = "failed", printable(str(error), 1000)
            except OSError as error:
                said = printable(str(error.filename or self._root), 500)
                one.state = "failed"
                one.message = message("{path} cannot be written: {error}.", path=said, error=error.strerror or error)
            except Exception as error:
                _log.exception("download %s", one.id)
                one.state = "failed"
                one.message = message("The host failed with {error}, a defect of it.", error=type(error).__name__)
        self._tell(one)
        if one.state == "done":
            self._changed()

    def cancel(self, number: int) -> Download:
        """Stop it, and delete what is there of it. Raises UnknownDownloadError."""
        one = self._find(number)
        one.stop.set()
        if one.state == "waiting":
            one.state = "cancelled"
            self._tell(one)
        return self.view(number)

    def all(self) -> list[Download]:
        return [self.view(number) for number in self._all]

    @property
    def is_busy(self) -> bool:
        return any(one.state in ("waiting", "running") for one in self._all.values())

    def view(self, number: int) -> Download:
        """Raises UnknownDownloadError."""
        one = self._find(number)
        return Download(
            id=one.id,
            source=legible(shown(one.wanted.source)),
            name=legible(one.offer.name),
            state=one.state,
            kind=one.kind,
            path=legible(str(one.path)) if one.path else None,
            received=one.received,
            size=one.offer.size,
            speed=_speed(one),
            sha256=one.sha256,
            message=one.message,
        )

    def _find(self, number: int) -> _Running:
        try:
            return self._all[number]
        except KeyError as error:
            raise UnknownDownloadError(message("There is no download {number}.", number=number)) from error

    def _progress(self, one: _Running) -> None:
        if one.state == "running":
            now = time.monotonic()
            one.told.append((now, one.received))
            while one.told[0][0] < now - _SPEED_OVER and len(one.told) > 2:
                one.told.popleft()
            self._tell(one)

    def _tell(self, one: _Running) -> None:
        seen = self.view(one.id)
        self._log.add(
            None,
            DownloadChanged(
                download=seen.id,
                name=seen.name,
                state=seen.state,
                received=seen.received,
                size=seen.size,
                speed=seen.speed,
                message=seen.message,
            ),
        )


def _speed(one: _Running) -> float | None:
    """Bytes a second, of late."""
    if one.state != "running" or len(one.told) < 2:
        return None
    (began, before), (now, after) = one.told[0], one.told[-1]
    return max(after - before, 0) / max(now - began, 0.001)


def _wanted(request: DownloadRequest) -> Wanted:
    return Wanted(request.source, request.kind, request.name, request.sha256, request.size)


def _keys(request: DownloadRequest) -> Keys:
    """The host's environment, and the tokens of whoever asks."""
    return Keys({**os.environ, **{name: token.get_secret_value() for name, token in request.tokens.items()}})

"""One process that draws, seen from the host: started, spoken with, watched, and ended when it is stuck."""

import asyncio
import contextlib
import json
import logging
import math
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdterm.api import WorkerView
from sdterm.core.extensions.source import Source
from sdterm.core.frames import HEAD_SIZE, FrameError, pack, sizes, unpack
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.events import ModelLoading
from sdterm.host.child import Child
from sdterm.messages import from_json, message

SLOW_CALLS = 20
"""How many times the median call a call may take, where that is longer than the limit."""
STOP_LIMIT = 5.0
"""Seconds after which a job that was cancelled must have stopped."""
PLUGINS_LIMIT = 20.0
"""Seconds that loading new plugins may take."""
_WATCH = 0.5  # seconds
_SHORTEST = 3.0  # seconds
_LONGEST_LINE = 2000  # characters
_WAITING_BYTES = 2**20
_log = logging.getLogger(__name__)


class WorkerLostError(SdtermError):
    """The process died or was stuck; `code` and message say why, `plugin` (slug) whose code ran when it was stuck."""

    def __init__(self, code: str, message: str, plugin: str | None = None) -> None:
        super().__init__(message)
        self.code, self.plugin = code, plugin


class UnusableDeviceError(SdtermError):
    """The worker's device is not there."""

    code = "no_device"


class WorkerProcess:
    """A worker. One task at a time reads its messages.

    folder: the host's own. threads: of the CPU, where it shares that with others. monotonic: seconds that never jump,
    for deadlines.
    """

    def __init__(
        self,
        device: str | None,
        settings: Settings,
        folder: Path,
        threads: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self._device, self._settings, self._folder = device, settings, folder
        self._monotonic = monotonic
        self._process: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._reason: WorkerLostError | None = None
        self._heard = 0.0  # when it last said anything
        self._moved = 0.0  # when it last got on
        self._has_started = False
        self._ours = False  # whether it waits for the host, not the host for it
        self._median = 0.0
        self._plugin: str | None = None  # whose code was running when it last said so
        self._stop_by = math.inf  # when it must have stopped its job
        self._asked: asyncio.Future[Mapping[str, str]] | None = None  # what it is to say to new plugins
        self.trouble: str | None = None
        """Why it could not be started the last time."""
        self.is_out = False
        """Its device is not there: others draw."""
        self.hardware: str | None = None
        """What its device is; two of the same compute the same bits. None before its first start."""
        self.card: str | None = None
        """The UUID of its card, once that is known."""
        self._view = WorkerView(device=self.name)

    @property
    def name(self) -> str:
        """By which users speak of its device."""
        return self._device or "auto"

    @property
    def view(self) -> WorkerView:
        """What is to be seen of it."""
        seen = self._view if self.is_alive else WorkerView(device=self.name)
        return seen.model_copy(update={"trouble": self.trouble, "hardware": self.hardware or ""})

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether it answers: not while it starts, which may take long and has nothing to do with what it is asked."""
        return self.is_alive and self._has_started

    async def start(self) -> None:
        """Start it and wait until it can draw. Raises UnusableDeviceError, or WorkerLostError if it fails otherwise."""
        values = {key: value.value for key, value in self._settings.values.items()} | {"device": self._device}
        given = json.dumps({"data": str(self._settings.root), "values": values})
        self._reason, self._ours, self._has_started = None, False, False
        try:
            command = [sys.executable, "-P", "-m", "sdterm.worker", given]
            self._process = await Child.start(command, self._folder, _WAITING_BYTES, self._environ)
        except OSError as error:
            raise WorkerLostError(
                "worker_unstartable", message("No worker process could be started: {error}.", error=error)
            ) from error
        self._listening = asyncio.create_task(self._note())
        self._moved = self._heard = self._monotonic()
        self._view = self._view.model_copy(
            update={"pid": self._process.pid, "phase": "starting", "model": None, "kept": ()}
        )
        self._watch = asyncio.create_task(self._watch_over())
        async with contextlib.aclosing(self.messages()) as messages:
            async for said, _ in messages:
                if said["type"] == "ready":
                    self._has_started = True
                    self.hardware, self.card = str(said["hardware"]), said["card"]
                    return
                if said["type"] == "unusable":
                    await self.end()
                    raise UnusableDeviceError(_text(said["message"]))

    async def send(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        """A worker that is gone is noticed by who reads its messages."""
        if self._process:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(pack({"type": kind, **fields}, payload))
                await self._process.stdin.drain()

    async def load_plugins(self, sources: Sequence[Source]) -> Mapping[str, str]:
        """Have it load a set beside the one that it draws with. Returns slug → why one cannot be loaded. Somebody must
        read its messages meanwhile. Raises WorkerLostError, TimeoutError."""
        self._asked = asyncio.get_running_loop().create_future()
        try:
            await self.send("plugins", sources=[source.fields for source in sources])
            return await asyncio.wait_for(self._asked, PLUGINS_LIMIT)
        finally:
            self._asked = None

    @property
    def is_asked(self) -> bool:
        """Whether it has yet to answer to new plugins."""
        return self._asked is not None and not self._asked.done()

    async def answered(self) -> None:
        """Read its messages until it has answered to new plugins. Raises WorkerLostError."""
        async with contextlib.aclosing(self.messages()) as messages:
            async for said, _ in messages:
                if said["type"] == "plugins":
                    return

    async def messages(self) -> AsyncGenerator[tuple[dict[str, Any], bytes], None]:
        """What it says, heartbeats left out. While the reader is at work on a message, no deadline runs. Raises
        WorkerLostError once the process is gone."""
        assert self._process
        while True:
            try:
                header, payload = sizes(await self._process.stdout.readexactly(HEAD_SIZE))
                said = unpack(await self._process.stdout.readexactly(header))
                data = await self._process.stdout.readexactly(payload)
            except (asyncio.IncompleteReadError, ConnectionError):
                raise await self._loss() from None
            except FrameError as error:
                self._reason = WorkerLostError(
                    "worker_died", message("The worker process sent invalid data: {error}", error=error)
                )
                raise await self._loss() from None
            self._heard = self._monotonic()
            if said["type"] == "heartbeat":
                self._beat(said)
                continue
            if said["type"] == "plugins" and self._asked and not self._asked.done():
                self._asked.set_result({slug: _text(why) for slug, why in said["errors"].items()})
            self._ours = True
            if said["type"] == "lost":
                self._reason = WorkerLostError(str(said["code"]), _text(said["message"]))
                raise await self._loss()
            try:
                yield said, data
            finally:
                self._moved = self._heard = self._monotonic()
                self._ours = False

    def set_models(self, loading: ModelLoading) -> None:
        """What it has in memory."""
        model = loading.model if loading.done else None
        self._view = self._view.model_copy(update={"model": model, "kept": loading.kept})

    def set_loading(self) -> None:
        """It is about to read a model, for no job."""
        self._moved = self._heard = self._monotonic()
        self._view = self._view.model_copy(update={"phase": "load"})

    def set_job(self, job: int | None) -> None:
        self._moved = self._heard = self._monotonic()
        self._median, self._plugin, self._stop_by = 0.0, None, math.inf
        phase = self.view.phase if job else "idle"
        self._view = self._view.model_copy(update={"job": job, "phase": phase, "call": 0})

    def stop_soon(self) -> None:
        """It was told to stop its job for good: one that does not, wherever it hangs, is ended."""
        self._stop_by = min(self._stop_by, self._monotonic() + STOP_LIMIT)

    async def end(self) -> None:
        """Let it go: it ends with its input, at once, or is killed."""
        if self._process:
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                await self._process.end()
        self._gone()

    async def _note(self) -> None:
        """What it, its libraries and its plugins print goes to the host's log, however much that is."""
        assert self._process
        pid, stream = self._process.pid, self._process.stderr
        while text := await stream.read(2**16):
            for line in text.decode(errors="replace").splitlines():
                _log.info("worker %s: %s", pid, printable(line, _LONGEST_LINE))

    def _beat(self, beat: dict[str, Any]) -> None:
        phase, call = str(beat["phase"]), int(beat["call"])
        if (phase, call) != (self.view.phase, self.view.call):
            self._moved = self._monotonic()
            self._view = self._view.model_copy(update={"phase": phase, "call": call})
        self._median, self._plugin = float(beat["median"]), beat["plugin"]

    async def _watch_over(self) -> None:
        while self.is_alive:
            await asyncio.sleep(_WATCH)
            if self._ours or (not self.view.job and self.view.phase in ("off", "idle")):
                continue
            now = self._monotonic()
            still, silent = now - self._moved, now - self._heard
            hang = _limit(self._settings["hang_limit"])
            if now > self._stop_by:
                said = message(
                    "The worker process did not stop within {seconds:.0f} s ({doing}) and was ended.",
                    seconds=STOP_LIMIT,
                    doing=self._doing(),
                )
            elif still > self._patience() or (silent > hang and self.view.phase != "starting"):
                said = message(
                    "The worker process was stuck for {seconds:.0f} s ({doing}) and was ended.",
                    seconds=still,
                    doing=self._doing(),
                )
            else:
                continue
            self._reason = WorkerLostError("worker_hung", said, self._plugin)
            if self._process:
                self._process.kill()
            return

    def _patience(self) -> float:
        """Seconds that it may stand still, by what it does. Our own code may read, compute or compile for long before
        there is a first call to measure it by; an extension's may not."""
        hang = _limit(self._settings["hang_limit"])
        if self.view.phase == "sample" and self._median:
            return max(hang, SLOW_CALLS * self._median)
        if self._plugin and self.view.phase != "load":
            return hang
        return _limit(self._settings["load_limit"])

    def _doing(self) -> str:
        doing = self.view.phase
        if doing == "sample":
            doing = message("network call {number}", number=self.view.call + 1)
        if not self._plugin:
            return doing
        return message("{doing}, code of the extension {extension}", doing=doing, extension=printable(self._plugin))

    async def _loss(self) -> WorkerLostError:
        """Why it is gone."""
        assert self._process
        if self._reason:
            self._process.kill()
        code = await self._process.wait()
        self._gone()
        reason = self._reason or WorkerLostError("worker_died", _said(code), self._plugin)
        if self._asked and not self._asked.done():
            self._asked.set_exception(reason)
        _log.warning("worker %s: %s", self._process.pid, reason)
        return reason

    def _gone(self) -> None:
        if self._watch:
            self._watch.cancel()
            self._watch = None


def _limit(seconds: float) -> float:
    """0 is never; below some heartbeats nothing could be told from a stuck process."""
    return max(seconds, _SHORTEST) if seconds else math.inf


def _said(code: int) -> str:
    """A process's end as a sentence."""
    if code == -signal.SIGKILL:
        return message("The worker process was killed, as the system does when memory runs out (see `dmesg`).")
    if code < 0:
        return message(
            "The worker process crashed ({signal}). Broken drivers or memory can cause this.",
            signal=signal.Signals(-code).name,
        )
    return message("The worker process ended by itself (exit code {code}).", code=code)


def _text(given: object) -> str:
    """What a worker says, which its extensions may have spoilt."""
    try:
        return from_json(given)
    except ValueError:
        return printable(str(given), 500)

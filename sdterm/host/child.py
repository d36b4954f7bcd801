"""A process that the host starts: its exit is its end, whoever still holds its pipes, and what it started ends with it.

Plugins start processes, and these may outlive the one that ran the plugin. So a child leads a session, which is killed
when the child ends. What left the session is found by a mark that it has inherited in its environment; that finds it
also for the next host, where this one is killed.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from asyncio.transports import SubprocessTransport
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from sdterm.host.threads import in_thread

_MARK = "_SDTERM_CHILD"
_HOST = secrets.token_hex(8)  # this process, among all that ever were
_LAST_WORDS = 1.0  # seconds that what a child wrote before its end may take to arrive
_numbers = itertools.count(1)


class Child:
    """A child with its three streams."""

    def __init__(self, transport: SubprocessTransport, protocol: "_Protocol") -> None:
        self._process = Process(transport, protocol, asyncio.get_running_loop())
        self._protocol = protocol
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self.stdin, self.stdout, self.stderr = self._process.stdin, self._process.stdout, self._process.stderr

    @classmethod
    async def start(
        cls, command: Sequence[str], folder: Path, limit: int, environ: Mapping[str, str] | None = None
    ) -> "Child":
        """Start a command. folder: the host's own, by which `end_strays` finds what is left of it. limit: bytes of a
        line, and half of what waits for whoever reads. environ: more of its environment. Raises OSError."""
        loop = asyncio.get_running_loop()
        mark = f"{folder}:{_HOST}:{next(_numbers)}"
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(limit, loop, mark),
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={**os.environ, **(environ or {}), _MARK: mark},
        )
        return cls(transport, protocol)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Its exit code, once it and all that it started are gone."""
        await self._protocol.ended.wait()
        assert self._process.returncode is not None
        return self._process.returncode

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End it now, and wait until nothing is left of it: what it has written can be read to its end."""
        self.kill()
        await self.wait()
        await self._protocol.wait_closed()


async def end_strays(folder: Path) -> None:
    """End what is left of the children of hosts that had this folder and are gone."""
    before, ours = f"{folder}:", f"{folder}:{_HOST}:"
    await in_thread(partial(_kill_marked, lambda mark: mark.startswith(before) and not mark.startswith(ours)))


class _Protocol(SubprocessStreamProtocol):
    """Asyncio takes a process for ended once its pipes are closed, which somebody else may hold open. Here they are
    closed soon after its exit."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop, mark: str) -> None:
        super().__init__(limit, loop)
        self._mark = mark
        self._child: SubprocessTransport | None = None
        self._ending: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._open, self._closed = {1, 2}, asyncio.Event()  # the pipes that it writes

    def connection_made(self, transport: Any) -> None:
        self._child = transport
        super().connection_made(transport)

    def process_exited(self) -> None:
        super().process_exited()
        self._ending = asyncio.create_task(self._end())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        super().pipe_connection_lost(fd, exc)
        self._open.discard(fd)
        if not self._open:
            self._closed.set()

    async def wait_closed(self) -> None:
        """Wait until the pipes of a child that has ended are closed."""
        assert self._ending
        await asyncio.wait({self._ending})

    async def _end(self) -> None:
        child = self._child
        assert child
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.get_pid(), signal.SIGKILL)
        await in_thread(partial(_kill_marked, lambda mark: mark == self._mark))
        self.ended.set()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), _LAST_WORDS)
        finally:
            child.close()


def _kill_marked(is_ours: Callable[[str], bool]) -> None:
    """Kill the processes that carry such a mark. What these start meanwhile is found next."""
    above = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    for _ in range(10):  # what the system cannot end now it ends later
        found = [each for each in psutil.process_iter() if each.pid not in above and is_ours(_mark_of(each))]
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)


def _mark_of(process: psutil.Process) -> str:
    """The mark that a process has inherited; empty for other users' processes, and for those that are gone."""
    try:
        return process.environ().get(_MARK, "")
    except (psutil.Error, OSError):
        return ""

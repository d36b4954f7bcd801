"""The host's HTTP server, on a socket that its own user alone can reach."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdterm.host.access.connections import BoundedProtocol
from sdterm.host.access.listening import Listening

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Listens at once, and serves when it is run, until `should_exit`. ready: called once it answers. ending: called
    before it waits for its clients to go. Raises OSError if it cannot listen there."""

    def __init__(self, app: ASGIApp, path: Path, *, ready: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Trusting,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._path, self._ready, self._ending = path, ready, ending
        self._listening = [_listen(path)]
        self._identity = _identity(path)

    async def run_on_socket(self) -> None:
        """Serve, whoever has connected already first."""
        await self.serve(self._listening)

    @property
    def is_reachable(self) -> bool:
        """Whether the socket that lies at the path is this one's."""
        return _identity(self._path) == self._identity

    async def listen_again(self) -> None:
        """Listen on a new socket at the path, too. Raises OSError."""
        self._listening.append(_listen(self._path))
        self._identity = _identity(self._path)
        before = self.servers
        await super().startup(self._listening[-1:])
        self.servers += before

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(self._listening)
        if self.is_reachable:
            self._path.unlink(missing_ok=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


class PortServer(uvicorn.Server):
    """Serves a port until `should_exit`. beside: what is done while it serves. ready: called once it answers.
    keep_alive: seconds that a connection may wait for its next request. has_pages: whether there are sockets for
    pages."""

    def __init__(
        self,
        app: ASGIApp,
        listening: Listening,
        *,
        beside: Callable[[], Coroutine[Any, Any, None]],
        ready: Callable[[], None] = lambda: None,
        keep_alive: float = 30.0,
        has_pages: bool = False,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=partial(BoundedProtocol, listening.socket),  # type: ignore[arg-type]
            ws="sdterm.host.pages.sockets:PageSocket" if has_pages else "none",
            ws_max_size=2**20,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=128,
            timeout_keep_alive=keep_alive,  # type: ignore[arg-type]
            timeout_graceful_shutdown=2,
            proxy_headers=False,  # anybody can send them
        )
        config.load()
        config.ssl = listening.tls
        super().__init__(config)
        self._listening, self._beside, self._ready = listening, beside, ready

    async def run_on_port(self) -> None:
        """Serve."""
        beside = asyncio.create_task(self._beside())
        beside.add_done_callback(_tell_error)
        try:
            await self.serve([self._listening.socket])
        finally:
            beside.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def _tell_error(ended: asyncio.Task[None]) -> None:
    if not ended.cancelled() and (error := ended.exception()):
        _log.error("what is done beside the port ended: %r", error, exc_info=error)


class _Trusting(H11Protocol):
    """HTTP for this very user: the folder keeps others out, and so does this."""

    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = peer_uid(transport.get_extra_info("socket"))
        if peer not in (None, os.geteuid()):
            _log.warning("refused a connection of user %s", peer)
            self._is_refused = True
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_refused:
            super().connection_lost(exc)


def peer_uid(connection: socket.socket) -> int | None:
    """Whose process is at the other end, where the system can tell (Linux)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def _listen(path: Path) -> socket.socket:
    """A socket at the path, in place of one that a dead host left there."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen(128)
    listening.setblocking(False)
    return listening


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None

"""`python -m sdterm.host SETTINGS`: the host process. One per place: who holds the lock is the host.

SETTINGS (JSON) are what the client that starts it was told on its command line. The first line on standard output says
what came of it: `ready`, `taken` (another host is there), or `failed` and why.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import signal
import socket
import stat
import struct
import sys
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdterm.core.config import ConfigError, Settings, resolve
from sdterm.core.dataroot import DataRootError, prepare
from sdterm.core.devices import DeviceNameError
from sdterm.core.place import Place, PlaceError, make_private, place_of
from sdterm.host.api import make_app
from sdterm.host.database import UnusableDatabaseError
from sdterm.host.home import Home
from sdterm.host.repeats import Repeats

_LOG_BYTES = 2 * 2**20
_log = logging.getLogger("sdterm.host")


def main() -> None:
    """Run a host until it is told to stop or nobody needs it."""
    given = json.loads(sys.argv[1])
    os.umask(os.umask(0o022) | 0o022)  # nobody else may change what is written here, whatever the shell allows
    try:
        settings = resolve({"the command line": given}, os.environ)
        prepare(settings.root)
        place = place_of(settings.root)
        make_private(place)
        lock = _take(place.lock)
        if not lock:
            _say("taken")
            return
        with lock:
            _detach(place)
            _serve(settings, place)
    except (ConfigError, DataRootError, PlaceError, UnusableDatabaseError, DeviceNameError, OSError) as error:
        _say(f"failed {error}")
        sys.exit(1)


def _serve(settings: Settings, place: Place) -> None:
    home = Home(settings, place)
    listening = _listen(place.socket)
    try:
        home.recover()
        asyncio.run(_run(home, listening))
    finally:
        home.database.close()
        with contextlib.suppress(FileNotFoundError):
            place.socket.unlink()


async def _run(home: Home, listening: socket.socket) -> None:
    """Serve and draw until told to stop."""
    app = make_app(home, lambda: setattr(server, "should_exit", True))
    config = uvicorn.Config(
        app, http=_Trusting, ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = _Server(config, home)
    drawing = asyncio.create_task(home.dispatcher.run())
    idle = asyncio.create_task(home.until_idle())
    watching = asyncio.create_task(home.extensions.run())
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await asyncio.wait((drawing, idle, serving), return_when=asyncio.FIRST_COMPLETED)
    _log.info("ending")
    home.log.close()
    server.should_exit = True
    for task in (drawing, idle, watching):
        task.cancel()
    results = await asyncio.gather(drawing, idle, watching, serving, return_exceptions=True)
    for error in results:
        if isinstance(error, Exception):
            _log.error("ended by %r", error, exc_info=error)


class _Server(uvicorn.Server):
    """Says that it is ready once it is, and lets followers go before it waits for them."""

    def __init__(self, config: uvicorn.Config, home: Home) -> None:
        super().__init__(config)
        self._home = home

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("ready: %s", self._home.place.socket)
        _say("ready")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._home.log.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


class _Trusting(H11Protocol):
    """HTTP for this very user: the folder keeps others out, and so does this."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = peer_uid(transport.get_extra_info("socket"))
        if peer not in (None, os.geteuid()):
            _log.warning("refused a connection of user %s", peer)
            transport.abort()
            return
        super().connection_made(transport)


def peer_uid(connection: socket.socket) -> int | None:
    """Whose process is at the other end, where the system can tell (Linux)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def _take(path: Path) -> "contextlib.AbstractContextManager[object] | None":
    """The lock, held until closed or until this process ends in whatever way; None if another host holds it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _listen(path: Path) -> socket.socket:
    """The socket, in place of one that a dead host left. Raises PlaceError if something else lies there."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PlaceError(f"{path} is in the way: it is no socket. Move it away.")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen(128)
    listening.setblocking(False)
    return listening


def _detach(place: Place) -> None:
    """Let go of the terminal that started this: neither its end nor a logout's hang-up reaches the host."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handler = logging.handlers.RotatingFileHandler(place.log, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    handler.addFilter(Repeats())
    place.log.chmod(0o600)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    os.chdir("/")


def _say(line: str) -> None:
    """To whoever started this, who may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, " ".join(line.split()).encode() + b"\n")


if __name__ == "__main__":
    main()

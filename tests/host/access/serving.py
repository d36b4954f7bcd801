"""A host's TCP port without its process: nothing draws. And a line to it that can be cut."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sdterm.core.settings.rundir import RunFolder, make_private, run_folder_of
from sdterm.core.settings.tokens import Scope, new_token
from sdterm.host.access.app import make_tcp_app
from sdterm.host.access.listening import Listening, listen
from sdterm.host.sdapi.delivery import Deliveries
from sdterm.host.server import PortServer
from sdterm.host.services import HostServices
from sdterm.host.v1.app import make_app
from sdterm.remote import Remote
from tests.host.conftest import settings_of

T = TypeVar("T")


class Served:
    """A port and the parts behind it."""

    listening: Listening
    services: HostServices

    def __init__(self, root: Path, port: int = 0, *, pages: bool = False, **settings: object) -> None:
        self.root = root
        self._pages = pages
        self._wanted = {"port": port, **settings}
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        make_private(self.run_folder)
        self._thread.start()
        assert self._up.wait(60)

    @property
    def run_folder(self) -> RunFolder:
        return run_folder_of(self.root)

    @property
    def url(self) -> str:
        return self.listening.url

    @property
    def port(self) -> int:
        return self.listening.port

    def token(self, scope: Scope = "read", name: str = "", expires: float | None = None) -> str:
        """A new token."""
        return new_token(self.run_folder.tokens, name or scope, scope, 0.0, expires)

    def remote(self, scope: Scope = "read") -> Remote:
        return Remote(self.url, self.token(scope))

    def do(self, act: Callable[[HostServices], T]) -> T:
        """Have something done in the host's loop."""

        async def done() -> T:
            return act(self.services)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(60)

    def end(self) -> None:
        self._server.should_exit = True
        self._loop.call_soon_threadsafe(self.services.log.close)
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        settings = settings_of(self.root, device="cpu", api="true")
        for key, value in self._wanted.items():
            settings = settings.with_value(key, value, "a test")
        self.services = HostServices(settings, self.run_folder)
        deliveries = Deliveries(self.services)
        ours = make_app(self.services, lambda: None)
        self.listening = listen(settings, self.run_folder)
        is_local = self.listening.is_local
        own_url = self.listening.own_url if self._pages else None
        app = make_tcp_app(self.services, lambda: None, ours, deliveries, is_local=is_local, own_url=own_url)
        self._server = PortServer(
            app, self.listening, beside=deliveries.look_after, ready=self._up.set, has_pages=self._pages
        )
        await self._server.run_on_port()
        self.services.database.close()


@contextlib.contextmanager
def served(root: Path, port: int = 0, *, pages: bool = False, **settings: object) -> Iterator[Served]:
    """pages: whether it has them. settings: the host's, besides the port."""
    it = Served(root, port, pages=pages, **settings)
    try:
        yield it
    finally:
        it.end()


class Line:
    """Connections to a port, through one of its own: they can be cut, and go silent."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections; new ones can be made."""
        for end in [*self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Let nothing through any more, and say so to nobody."""
        self._flows.clear()

    def end_silence(self) -> None:
        self._flows.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._listening.close()
        self._flows.set()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._flows.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            near.close()
            return
        for source, sink in ((near, far), (far, near)):
            self._open.add(source)
            threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._flows.wait()
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)

"""Connections of a port: so many at most, and none that only waits takes the place of one that asks.

A client must say what it wants in time, go on sending what it began, and go on reading what it is answered.
"""

import asyncio
import contextlib
import resource
import socket
from collections import OrderedDict
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS = 15.0
"""Seconds in which a request's headers must be there: from the connection on, or from their first byte on."""
STEP = 30.0
"""Seconds in which a body must grow by `LEAST`, and an answer that waits for its reader must be read on."""
LEAST = 16 * 2**10
"""Bytes."""
REST = 5.0
"""Seconds in which the rest of a body must come whose request is answered already."""
MOST_CONNECTIONS = 500

_FILES_BESIDES = 400  # that the host has open, however many connections there are
_LOST = 30_000  # milliseconds in which a client must confirm what was sent to it
_Address = tuple[Any, ...]
_Phase = Literal["headers", "body", "reading", "rest", "free"]
_LIMITS: dict[_Phase, float] = {"headers": HEADERS, "body": STEP, "reading": STEP, "rest": REST}


class Listener(socket.socket):
    """A listening socket with at most so many connections. For one more, the one is ended that has waited longest
    without a request; where all are being answered, the new one is."""

    def __init__(self, family: int) -> None:
        # With its protocol named, asyncio sets TCP_NODELAY: else each answer in two pieces waits 40 ms for the client.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.most = max(50, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _FILES_BESIDES))
        self._idle: OrderedDict[_Address, socket.socket] = OrderedDict()
        self._busy: dict[_Address, socket.socket] = {}

    def accept(self) -> tuple[socket.socket, _Address]:
        """Raises OSError, BlockingIOError."""
        connection, address = super().accept()
        with contextlib.suppress(OSError, AttributeError):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST)
        if len(self._idle) + len(self._busy) >= self.most:
            self._make_room(connection)
        self._idle[address] = connection
        return connection, address

    def asks(self, address: _Address) -> None:
        """A request of that client is being answered."""
        if connection := self._idle.pop(address, None):
            self._busy[address] = connection

    def waits(self, address: _Address) -> None:
        """It is answered."""
        if connection := self._busy.pop(address, None):
            self._idle[address] = connection

    def gone(self, address: _Address) -> None:
        self._idle.pop(address, None)
        self._busy.pop(address, None)

    def _make_room(self, new: socket.socket) -> None:
        for address, connection in [*self._idle.items()]:
            if connection.fileno() < 0:  # it ended before it began to speak, as where TLS fails
                del self._idle[address]
        if len(self._idle) + len(self._busy) >= self.most:
            victim = self._idle.popitem(last=False)[1] if self._idle else new
            with contextlib.suppress(OSError):
                victim.shutdown(socket.SHUT_RDWR)


class BoundedProtocol(H11Protocol):
    """HTTP with a client that may be slow on purpose."""

    def __init__(self, listener: Listener, **given: Any) -> None:
        super().__init__(**given)
        self._listener = listener
        self._phase: _Phase = "free"
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0  # bytes, since the timer began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer: _Address = transport.get_extra_info("peername") or ()
        self._enter("headers")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._enter("free")
        self._listener.gone(self._peer)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Another protocol has the connection from here on: it counts as one that is being answered."""
        self._listener.asks(self._peer)
        self._enter("free")
        super().handle_websocket_upgrade(event)
        after: Any = self.transport.get_protocol()
        if after is not self:
            ended = after.connection_lost

            def connection_lost(exc: Exception | None) -> None:
                ended(exc)
                self._listener.gone(self._peer)

            after.connection_lost = connection_lost

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if not self.transport.is_closing() and self.transport.get_protocol() is self:
            self._look("headers")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            has_more = bool(self.conn.trailing_data[0])
            self._look("headers" if has_more else "free")  # the time to its next word is uvicorn's to watch

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look(self._phase)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look(self._phase)

    def _look(self, otherwise: _Phase) -> None:
        """Find out what the client is to do next. otherwise: where no request is being answered."""
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            self._listener.asks(self._peer)
            self._enter("reading" if self.flow.write_paused else "body" if cycle.more_body else "free")
            return
        self._listener.waits(self._peer)
        self._enter("rest" if self.conn.their_state is h11.SEND_BODY else otherwise)

    def _enter(self, phase: _Phase) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        self._watch()

    def _watch(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._received = 0
        limit = _LIMITS.get(self._phase)
        self._timer = self.loop.call_later(limit, self._too_slow) if limit else None

    def _too_slow(self) -> None:
        goes_on = self._phase == "body" and (self.flow.read_paused or self._received >= LEAST)
        if goes_on:
            self._watch()
        else:
            self.transport.abort()

"""The host as the interface sees it: a thread that follows what happens, and calls that wait for the host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from textual.message import Message

from sdterm.core.settings.settings import Settings
from sdterm.messages import message, sentences
from sdterm.tui.language import tr
from sdterm.tui.messages import Happened, HostLost, HostStarting, HostUp

if TYPE_CHECKING:
    from sdterm.client import Client

T = TypeVar("T")

_AGAIN = 2.0  # seconds between two looks for a host that is lost
_SELDOM = 60.0  # at most, for one on another machine: who knocks at its SSH every two seconds is locked out by many
_AT_ONCE = 4  # questions


class Link:
    """The one connection to the host. Calls may be made from the start on: they wait until there is a host."""

    def __init__(self, settings: Settings, tell: Callable[[Message], object]) -> None:
        self._settings, self._tell = settings, tell
        self._client: Client | None = None
        self._waiting: list[Future[Client]] = []  # for a host
        self._asking = ThreadPoolExecutor(_AT_ONCE, "ask")  # its own: a host that is slow holds up nothing else
        self._changed = threading.Condition()
        self._closing = False
        self._wanted = True  # whether a host should be started where there is none
        self._pause = _AGAIN  # seconds until it is looked for again
        self._thread = threading.Thread(target=self._follow, name="host", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Go away. The host, and what it draws, stays."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._disappoint(_closing())

    async def call(self, ask: Callable[[Client], T]) -> T:
        """What the host answers. Raises RefusedError if it says no, HostError if it is gone: without a word if that is
        only just told by a `HostLost`."""
        from sdterm.client import HostError

        client = await asyncio.wrap_future(self._host())
        try:
            return await asyncio.get_running_loop().run_in_executor(self._asking, ask, client)
        except RuntimeError as error:  # what a client that was closed raises
            if client is self._client:
                raise
            raise HostError("") from error

    def _host(self) -> Future[Client]:
        """The host, as soon as there is one."""
        found: Future[Client] = Future()
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            if self._client is None:
                self._waiting.append(found)
            else:
                found.set_result(self._client)
        if self._closing:
            self._disappoint(_closing())
        return found

    def _follow(self) -> None:
        from sdterm.client import HostError, connect  # a quarter of a second, beside the first paint

        after: int | None = None
        while not self._closing:
            try:
                host = connect(
                    self._settings,
                    start=self._wanted,
                    check=self._wanted,
                    starting=lambda: self._say(HostStarting()),
                )
            except Exception as error:  # whatever it is, the prompt can still be written
                if self._wanted:
                    self._say(HostLost(str(error)))
                    self._fail(str(error))
                self._wait()
                if self._settings["connect"]:
                    self._pause = min(2 * self._pause, _SELDOM)
                continue
            try:
                with host:
                    health = host.health()
                    self._pause = _AGAIN
                    after = health.last_event if after is None else min(after, health.last_event)
                    with self._offered(host):
                        self._say(HostUp(health))
                        for entry in host.events(after=after, previews=True, away=partial(self._say_away, host)):
                            after = max(after, entry.number)
                            self._say(Happened(entry))
                            if self._closing:
                                return
                self._wanted = False  # somebody stopped it: it comes back when something is asked of it
                reason = tr("The host was stopped. Its jobs continue when it starts again: F5 starts it.")
            except HostError as error:
                is_startable = "://" not in (self._settings["connect"] or "")
                again = message("Starting it again …") if is_startable else message("Looking for it again.")
                reason = sentences(error, again)
            except Exception as error:
                reason = tr("The host's answer cannot be read ({error}).", error=str(error))
                self._wanted = False
            self._say(HostLost(reason))
            self._wait()

    def _say_away(self, host: Client, why: Exception | None) -> None:
        """Tell that a host on another machine cannot be reached for a while, or (why unset) is back."""
        self._say(HostLost(str(why)) if why else HostUp(host.health()))

    @contextmanager
    def _offered(self, client: Client) -> Iterator[None]:
        """Have this host asked: those who wait first, and nobody any more before it is closed."""
        with self._changed:
            self._client = client
            waiting, self._waiting = self._waiting, []
        for found in waiting:
            if found.set_running_or_notify_cancel():
                found.set_result(client)
        try:
            yield
        finally:
            self._client = None

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._wanted = False
        self._disappoint(reason)

    def _disappoint(self, reason: str) -> None:
        """Tell whoever waits that there is no host."""
        from sdterm.client import HostError

        with self._changed:
            waiting, self._waiting = self._waiting, []
        for found in waiting:
            if found.set_running_or_notify_cancel():
                found.set_exception(HostError(reason))

    def _wait(self) -> None:
        with self._changed:
            wanted = self._wanted
            self._changed.wait_for(lambda: self._closing or (self._wanted and not wanted), self._pause)

    def _say(self, message: Message) -> None:
        if not self._closing:
            self._tell(message)


def _closing() -> str:
    return tr("The workstation is closing.")

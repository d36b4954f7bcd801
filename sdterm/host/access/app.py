"""What a TCP port answers: `/v1` to clients with a token, and A1111's API where it is wanted."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.api import Problem
from sdterm.core.text import printable
from sdterm.host.access.bodies import BodiesInFlight
from sdterm.host.access.guests import Guest, KnownTokens, introduce
from sdterm.host.access.headers import AnswerHeaders
from sdterm.host.access.policy import Access, Refusal, access_of, is_ours
from sdterm.host.access.subpath import BelowSubpath
from sdterm.host.sdapi.app import make_sdapi
from sdterm.host.sdapi.delivery import Deliveries
from sdterm.host.services import HostServices
from sdterm.messages import message

if TYPE_CHECKING:
    from sdterm.host.pages.pages import Pages

_log = logging.getLogger(__name__)
_NOWHERE = Refusal(404, "bad_request", message("There is no such address. A1111's API is served with --api."))


def make_tcp_app(
    services: HostServices,
    stop: Callable[[], None],
    ours: ASGIApp,
    deliveries: Deliveries,
    *,
    is_local: bool = True,
    own_url: str | None = None,
) -> ASGIApp:
    """The application of a port. ours: `/v1` as the socket has it. stop: ends the host. is_local: only this machine
    reaches the port. own_url: where the workstations of pages reach it; None: there are no pages."""
    settings = services.settings
    access = access_of(settings, KnownTokens(services.run_folder.tokens), is_local=is_local)
    a1111 = make_sdapi(services, stop, deliveries, access) if settings["api"] else None
    pages = None
    if own_url:
        from sdterm.host.pages.pages import Pages

        pages = Pages(services, ours, access, own_url)
    app: ASGIApp = BodiesInFlight(_ByPath(Gate(ours, access), a1111, pages))
    app = AnswerHeaders(app, access.origins)
    if settings["subpath"]:
        app = BelowSubpath(app, settings["subpath"])
    return _Logged(app) if settings["api_log"] else app


class Gate:
    """Plain ASGI: lets requests with a token through to `/v1`, as those of guests."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = await self._access.judged(scope)
        if isinstance(found, Guest):
            introduce(scope, found)
            await self._app(scope, receive, send)
        else:  # None is about A1111's API, which is not here
            await _problem(found or _NOWHERE)(scope, receive, send)


class _ByPath:
    """One port for both APIs and the pages."""

    def __init__(self, ours: ASGIApp, a1111: ASGIApp | None, pages: "Pages | None") -> None:
        self._ours, self._a1111, self._pages = ours, a1111, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pages and self._pages.has(scope["path"]):
            await self._pages(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif is_ours(scope) or self._a1111 is None:
            await self._ours(scope, receive, send)
        else:
            await self._a1111(scope, receive, send)


class _Logged:
    """Writes each request to the host's log, without its query and its credentials."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            address = (scope.get("client") or ("?",))[0]
            seconds = time.perf_counter() - began
            method = scope.get("method", "socket")
            _log.info("%s %s %s: %s, %.3f s", address, method, printable(scope["path"], 200), status, seconds)


def _problem(refusal: Refusal) -> ASGIApp:
    problem = Problem(code=refusal.code, message=refusal.sentence)
    return JSONResponse(problem.model_dump(), refusal.status, refusal.headers)

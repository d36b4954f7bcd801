"""What a browser is shown at the host's port, to those who have credentials."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from sdterm.host.access.guests import introduce
from sdterm.host.access.policy import Access, Refusal, Visit
from sdterm.host.pages.workstation import TOKENS, run_workstation
from sdterm.host.services import HostServices
from sdterm.messages import message

MOST = 8
"""Workstations in pages at once; each is a process."""
_HERE = Path(__file__).parent
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_VISIT = "sdterm.visit"  # of an ASGI scope
_ADDRESSES = ("/page", "/gallery", "/pictures")
_TOO_MANY = message("Too many browsers show the workstation. Close one of them, then reload this page.")


def can_show() -> bool:
    """Whether what shows a terminal in a page is installed."""
    return find_spec("textual_serve") is not None and find_spec("wsproto") is not None


class Pages:
    """Plain ASGI: the pages, and what they need, to whoever shows a login or a token. ours: `/v1`. url: where
    workstations reach the host."""

    def __init__(self, services: HostServices, ours: ASGIApp, access: Access, url: str) -> None:
        self._services, self._ours, self._access, self._url = services, ours, access, url
        self._open = 0
        for left in services.run_folder.folder.glob(f"{TOKENS}*"):  # of a host that was killed
            left.unlink(missing_ok=True)
        scripts = Path(str(find_spec("textual_serve").origin)).parent / "static"  # type: ignore[union-attr]
        self._app = Starlette(
            routes=[
                Route("/", self._front),
                Route("/page/workstation.js", _file("workstation.js")),
                Route("/page/pages.css", _file("pages.css")),
                Route("/gallery", lambda request: RedirectResponse("gallery/")),
                Route("/gallery/", _file("gallery.html")),
                Route("/gallery/gallery.js", _file("gallery.js")),
                Route("/gallery/list", self._list),
                Route("/gallery/thumbnail/{picture:int}", self._picture),
                Route("/pictures/{picture:int}", self._picture),
                WebSocketRoute("/page/socket", self._workstation),
                Mount("/page/terminal", StaticFiles(directory=scripts)),
            ]
        )

    @staticmethod
    def has(path: str) -> bool:
        """Whether an address is a page's."""
        return path == "/" or any(path == each or path.startswith(f"{each}/") for each in _ADDRESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = await self._access.visited(scope)
        if isinstance(found, Refusal):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(found.sentence)[:100]})
            else:
                await Response(str(found.sentence), found.status, found.headers, "text/plain")(scope, receive, send)
            return
        scope[_VISIT] = found
        await self._app(scope, receive, send)

    async def _front(self, request: Request) -> Response:
        """The workstation, the gallery for whoever may only read, or why there is neither."""
        if not _may_draw(request.scope[_VISIT]):
            return RedirectResponse("gallery/")
        if self._open >= MOST:
            return Response(str(_TOO_MANY), 503, media_type="text/plain")
        return await _file("workstation.html")(request)

    async def _workstation(self, page: WebSocket) -> None:
        visit: Visit = page.scope[_VISIT]
        if not _may_draw(visit) or self._open >= MOST:
            await page.close(1008)
            return
        self._open += 1
        try:
            await page.accept()
            settings, folder = self._services.settings, self._services.run_folder.folder
            await run_workstation(page, self._url, visit, settings, folder)
        finally:
            self._open -= 1
        with contextlib.suppress(RuntimeError, TimeoutError, WebSocketDisconnect):  # it is gone
            await asyncio.wait_for(page.close(), 5)

    async def _list(self, request: Request) -> Response:
        return await self._of_ours(request, "/v1/pictures")

    async def _picture(self, request: Request) -> Response:
        what = "thumbnail" if "thumbnail" in request.url.path else "file"
        return await self._of_ours(request, f"/v1/pictures/{request.path_params['picture']}/{what}")

    async def _of_ours(self, request: Request, path: str) -> Response:
        """What `/v1` answers to this visitor."""
        return _Ours(self._ours, request.scope[_VISIT], path)


def _may_draw(visit: Visit) -> bool:
    return visit.guest.token.allows("generate")


class _Ours(Response):
    """An answer that `/v1` gives."""

    def __init__(self, ours: ASGIApp, visit: Visit, path: str) -> None:
        self._ours, self._visit, self._path = ours, visit, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {**scope, "path": self._path, "raw_path": self._path.encode(), "root_path": "", "app_root_path": ""}
        introduce(asked, self._visit.guest)
        await self._ours(asked, receive, send)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return FileResponse(_HERE / name, headers={"content-security-policy": _CSP})

    return answer

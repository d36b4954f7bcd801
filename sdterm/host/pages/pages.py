"""What a browser is shown at the host's port, to those who have credentials."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from sdterm.api import Problem
from sdterm.core.languages.marked import said_in
from sdterm.core.languages.speech import Speech
from sdterm.host.access.guests import introduce
from sdterm.host.access.policy import Access, Refusal, Visit
from sdterm.host.pages.readers import Readers
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
_HEADERS = {"content-security-policy": _CSP}
_VISIT = "sdterm.visit"  # of an ASGI scope
_ADDRESSES = ("/page", "/gallery", "/pictures")
_NOWHERE = message("There is no such address.")
_TOO_MANY = message("Too many browsers show the workstation. Close one of them, then reload this page.")


def can_show() -> bool:
    """Whether what shows a terminal in a page is installed."""
    return find_spec("textual_serve") is not None and find_spec("wsproto") is not None


class Pages:
    """Plain ASGI: the pages, and what they need, to whoever shows a login or a token. ours: `/v1`. url: where
    workstations reach the host."""

    def __init__(self, services: HostServices, ours: ASGIApp, access: Access, url: str) -> None:
        self._services, self._ours, self._access, self._url = services, ours, access, url
        self._readers = Readers(services.settings)
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
                Route("/gallery/", self._gallery),
                Route("/gallery/gallery.js", _file("gallery.js")),
                Route("/gallery/list", self._list),
                Route("/gallery/thumbnail/{picture:int}", self._picture),
                Route("/pictures/{picture:int}", self._picture),
                WebSocketRoute("/page/socket", self._workstation),
                Mount("/page/terminal", StaticFiles(directory=scripts)),
            ],
            exception_handlers={404: self._nowhere},
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
                speech = self._readers.speech(Headers(scope=scope))
                await _sentence(found.sentence, speech, found.status, found.headers)(scope, receive, send)
            return
        scope[_VISIT] = found
        await self._app(scope, receive, send)

    async def _front(self, request: Request) -> Response:
        """The workstation, the gallery for whoever may only read, or why there is neither."""
        if not _may_draw(request.scope[_VISIT]):
            return RedirectResponse("gallery/")
        if self._open >= MOST:
            return _sentence(_TOO_MANY, self._readers.speech(request.headers), 503)
        return self._page("workstation.html", request)

    async def _gallery(self, request: Request) -> Response:
        return self._page("gallery.html", request)

    def _page(self, name: str, request: Request) -> Response:
        page = (_HERE / name).read_text(encoding="utf-8")
        return HTMLResponse(said_in(page, self._readers.speech(request.headers)), headers=_HEADERS)

    async def _nowhere(self, request: Request, error: Exception) -> Response:
        return _sentence(_NOWHERE, self._readers.speech(request.headers), 404)

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
        return _Ours(self._ours, request.scope[_VISIT], path, self._readers.speech(request.headers))


def _may_draw(visit: Visit) -> bool:
    return visit.guest.token.allows("generate")


def _sentence(text: str, speech: Speech, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A page of one sentence, in the reader's language."""
    return PlainTextResponse(speech.tr(text), status, {**(headers or {}), "content-language": speech.tag})


class _Ours(Response):
    """An answer that `/v1` gives. speech: what says why it gives none."""

    def __init__(self, ours: ASGIApp, visit: Visit, path: str, speech: Speech) -> None:
        self._ours, self._visit, self._path, self._speech = ours, visit, path, speech

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {**scope, "path": self._path, "raw_path": self._path.encode(), "root_path": "", "app_root_path": ""}
        introduce(asked, self._visit.guest)
        status, body = 200, b""

        async def answer(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            if status < 400:
                await send(message)
                return
            body += message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body"):
                problem = Problem.model_validate_json(body)
                said = {"code": problem.code, "message": self._speech.tr(problem.message)}
                await JSONResponse(said, status)(scope, receive, send)

        await self._ours(asked, receive, answer)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return FileResponse(_HERE / name, headers=_HEADERS)

    return answer

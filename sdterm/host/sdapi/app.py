"""A1111's API, put together."""

import time
from collections.abc import Callable
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.host.access.guests import KnownTokens
from sdterm.host.access.policy import Access, Refusal, access_of
from sdterm.host.sdapi import schema
from sdterm.host.sdapi.bodies import MOST_BYTES
from sdterm.host.sdapi.delivery import JOB_HEADER, Deliveries
from sdterm.host.sdapi.errors import add_error_handlers, error
from sdterm.host.sdapi.routes import drawing, lists, pictures, running, server, settings
from sdterm.host.sdapi.tasks import Tasks
from sdterm.host.services import HostServices
from sdterm.version import __version__


def make_sdapi(
    services: HostServices,
    stop: Callable[[], None],
    deliveries: Deliveries | None = None,
    access: Access | None = None,
) -> ASGIApp:
    """The application. stop: ends the host. access: who may use it; unset is this machine, as the settings say."""
    deliveries = deliveries or Deliveries(services)
    access = access or access_of(services.settings, KnownTokens(services.run_folder.tokens))
    app = FastAPI(title="sdterm, A1111's API", version=__version__, openapi_url="/openapi.json", redoc_url="/redoc")
    app.openapi = partial(schema.document, app)  # type: ignore[method-assign]
    app.add_middleware(_Around, services=services, access=access)
    tasks = Tasks(services)
    for routes in (
        drawing.routes(services, deliveries, tasks),
        pictures.routes(services, deliveries),
        running.routes(tasks),
        settings.routes(services),
        lists.routes(services),
        server.routes(services, stop),
    ):
        app.include_router(routes)
    add_error_handlers(app)
    return app


class _Around:
    """What every request gets: a look at where it comes from, and headers on its answer. Plain ASGI: a middleware of
    functions would run each request in a task group of its own."""

    def __init__(self, app: ASGIApp, services: HostServices, access: Access) -> None:
        self._app, self._services, self._access = app, services, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._services.touch()
        began = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-process-time"] = f"{time.perf_counter() - began:.4f}"
                if job := scope.get("state", {}).get("job"):
                    headers[JOB_HEADER] = str(job)
            await send(message)

        found = await self._access.judged(scope)
        refusal = _refused(Request(scope), found) if isinstance(found, Refusal) else _too_large(Request(scope))
        await (refusal or self._app)(scope, receive, answer)


def _refused(request: Request, refusal: Refusal) -> Response:
    """A1111's answer to who may not."""
    if refusal.detail:
        return JSONResponse(error("HTTPException", "", refusal.detail), refusal.status, refusal.headers)
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        return PlainTextResponse("Disallowed CORS origin", 400)
    return JSONResponse(error("Forbidden", refusal.sentence), refusal.status, refusal.headers)


def _too_large(request: Request) -> Response | None:
    if not (length := request.headers.get("content-length", "0")).isdigit() or int(length[:12]) > MOST_BYTES:
        return JSONResponse(error("TooLarge", f"The body is too large: the limit is {MOST_BYTES} bytes."), 413)
    return None

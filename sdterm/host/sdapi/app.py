"""A1111's API: who may ask, and what it is put together of."""

import time
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp

from sdterm.host.sdapi.bodies import MOST_BYTES
from sdterm.host.sdapi.delivery import JOB_HEADER, Deliveries
from sdterm.host.sdapi.errors import add_error_handlers, error
from sdterm.host.sdapi.routes import drawing, lists, settings
from sdterm.host.services import HostServices
from sdterm.version import __version__

_OWN_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def make_sdapi(services: HostServices, deliveries: Deliveries | None = None) -> ASGIApp:
    """The application that listens on a port of this machine."""
    deliveries = deliveries or Deliveries(services)
    app = FastAPI(title="sdterm, A1111's API", version=__version__, openapi_url="/openapi.json", redoc_url="/redoc")
    app.middleware("http")(partial(_around, services))
    app.include_router(drawing.routes(services, deliveries))
    for subject in (settings, lists):
        app.include_router(subject.routes(services))
    add_error_handlers(app)
    return app


async def _around(services: HostServices, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Who may ask: programs of this machine. A page in a browser, whatever name it gives this machine, may not."""
    services.touch()
    began = time.perf_counter()
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    origin = request.headers.get("origin")
    if host not in _OWN_HOSTS or (origin and origin != f"http://{request.headers.get('host')}"):
        return JSONResponse(error("Forbidden", "This API answers programs on this machine alone."), 403)
    if not (length := request.headers.get("content-length", "0")).isdigit() or int(length[:12]) > MOST_BYTES:
        return JSONResponse(error("TooLarge", f"The body is too large: the limit is {MOST_BYTES} bytes."), 413)
    response = await call(request)
    if job := getattr(request.state, "job", None):
        response.headers[JOB_HEADER] = str(job)
    response.headers["x-process-time"] = f"{time.perf_counter() - began:.4f}"
    return response

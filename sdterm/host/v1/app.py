"""`/v1`: the host over HTTP; docs/protocol.md describes it. Each file beside this one has the routes of one subject,
each function there is one thing that a client can ask for."""

from collections.abc import Callable

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.api import (
    Problem,
)
from sdterm.core.inputs import MOST_BYTES as MOST_INPUT_BYTES
from sdterm.host.services import HostServices
from sdterm.host.v1 import inputs, jobs, models, offers, pictures, running
from sdterm.host.v1.problems import HANDLERS, problem
from sdterm.host.v1.routing import only_known_parameters, only_utf_8
from sdterm.messages import message
from sdterm.version import __version__

MOST_BYTES = 2 * 2**20
"""Of a request's body: a prompt and a negative prompt at their limits, escaped, and room to spare."""


def make_app(services: HostServices, stop: Callable[[], None]) -> ASGIApp:
    """The application. stop: ends the host."""
    app = FastAPI(
        title="sdterm",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        exception_handlers=HANDLERS,
    )
    checks = [Depends(only_known_parameters)]
    v1 = APIRouter(prefix="/v1", responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}}, dependencies=checks)
    v1.include_router(inputs.routes(services))
    of_json = (running.routes(services, stop), *(part.routes(services) for part in (jobs, models, offers, pictures)))
    for router in of_json:
        v1.include_router(router, dependencies=[Depends(only_utf_8)])
    app.include_router(v1)
    return _Bounded(app, services.touch)


class _Bounded:
    """Refuses bodies over the limit before they are read, and notes that a client is there."""

    def __init__(self, app: ASGIApp, touch: Callable[[], None]) -> None:
        self._app, self._touch = app, touch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._touch()
        length = dict(scope["headers"]).get(b"content-length", b"0")
        most = MOST_INPUT_BYTES if scope["path"].startswith("/v1/inputs/") else MOST_BYTES
        if not length.isdigit() or int(length[:12]) > most:
            await problem(413, "too_large", message("The body is too large: the limit is {most} bytes.", most=most))(
                scope, receive, send
            )
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, f"The body has more than {most} bytes")
            return message

        await self._app(scope, bounded, send)

"""A proxy may have sdterm below an address of its own, like https://example.org/sd, and may leave that in or take it
out: both are understood."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BelowSubpath:
    """Plain ASGI: takes the subpath out of an address that begins with it."""

    def __init__(self, app: ASGIApp, subpath: str) -> None:
        self._app, self._subpath = app, "/" + subpath.strip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == self._subpath and scope["type"] == "http":  # a page's own addresses begin behind the slash
            await RedirectResponse(f"{self._subpath}/")(scope, receive, send)
            return
        if path == self._subpath or path.startswith(f"{self._subpath}/"):
            scope = {**scope, "path": path[len(self._subpath) :] or "/"}
        await self._app(scope, receive, send)

"""What every answer over TCP says to browsers: no frames, no guessing of types, no copies, and which pages may read."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.host.access.origins import Origins

ALWAYS: Mapping[str, str] = {
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""An answer may have its own value of any of them."""


class AnswerHeaders:
    """Plain ASGI: adds them, and answers the question that browsers ask before a page of another site may send."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        page = asked.get("origin", "")
        is_allowed = bool(page) and self._origins.allows(page) and not self._origins.refusal(asked)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
                if is_allowed:
                    headers["access-control-allow-origin"] = page
                    headers["access-control-expose-headers"] = "X-Job-Id, X-Process-Time, Retry-After"
                    headers["cross-origin-resource-policy"] = "cross-origin"
                headers.add_vary_header("Origin")
            await send(message)

        if is_allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in asked:
            allowed = {
                "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
                "access-control-allow-headers": asked.get("access-control-request-headers", ""),
                "access-control-max-age": "600",
            }
            await PlainTextResponse("", 204, allowed)(scope, receive, answer)
            return
        await self._app(scope, receive, answer)

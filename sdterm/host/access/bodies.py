"""Bodies under way: however many clients send at once, only so many bytes of it are in memory."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdterm.messages import message

MOST = 512 * 2**20
"""Bytes of all bodies that are being received or worked on."""
_FULL = message("Too much is being sent to this host at the moment. Try again in a few seconds.")


class BodiesInFlight:
    """Plain ASGI: counts the bytes that requests have brought until they are answered, and refuses more than there is
    room for."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self._app, self._most = app, most
        self.bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        brought = 0

        async def counted() -> Message:
            nonlocal brought
            message = await receive()
            size = len(message.get("body", b""))
            if size and self.bytes + size > self._most:
                raise HTTPException(503, _FULL, {"retry-after": "5"})
            brought += size
            self.bytes += size
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self.bytes -= brought

"""Who may use A1111's API: programs of this machine, with a login where there are any."""

import base64
import binascii
from collections.abc import Callable, Sequence

from fastapi import Request

from sdterm.core.settings.logins import admits
from sdterm.errors import SdtermError

_OWN_HOSTS = ("127.0.0.1", "localhost")


class UnauthorizedError(SdtermError, PermissionError):
    """A1111's 401."""

    code = "unauthorized"


def is_from_here(request: Request) -> bool:
    """Whether a program asks. A page in a browser may not, whatever name it gives this machine."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    origin = request.headers.get("origin")
    return host in _OWN_HOSTS and (not origin or origin == f"http://{request.headers.get('host')}")


def login_needed(logins: Sequence[str]) -> Callable[[Request], None]:
    """What a route depends on: a login, if there are any. Raises UnauthorizedError."""

    def check(request: Request) -> None:
        if not logins or request.url.path == "/":
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise UnauthorizedError("Not authenticated")
        try:
            name, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise UnauthorizedError("Invalid authentication credentials")
        if not admits(logins, name, password):
            raise UnauthorizedError("Incorrect username or password")

    return check

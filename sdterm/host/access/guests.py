"""Clients that come over TCP: the token that each has shown, and for how long it holds."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from sdterm.core.settings.tokens import Token, TokenError, digest_of, find_token, read_tokens
from sdterm.errors import SdtermError

_log = logging.getLogger(__name__)
_KEY = "sdterm.guest"  # of an ASGI scope


class ForbiddenError(SdtermError, PermissionError):
    """A client over TCP asks for what its token does not allow, or no token."""

    code = "forbidden"


class KnownTokens:
    """The tokens of a file as it is now: it is read again once it has changed. While it cannot be
    read there are none.

    clock: seconds since 1970. page: the secret of one more, with which the workstations of pages draw.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self.page = f"sdterm_{secrets.token_urlsafe(32)}"
        self._own = Token("page", digest_of(self.page), "generate", clock())
        self._seen: tuple[int, ...] = ()
        self._tokens: tuple[Token, ...] = ()

    def find(self, secret: str) -> Token | None:
        """The valid token that has this secret."""
        token = find_token(self._read(), secret)
        return token if token and self.is_valid(token) else None

    def is_valid(self, token: Token) -> bool:
        """Whether a token that was found is still there, and has not expired."""
        return token in self._read() and not token.is_expired(self._clock())

    def _read(self) -> tuple[Token, ...]:
        seen = _seen(self._path)
        if seen != self._seen:
            try:
                self._tokens = read_tokens(self._path)
            except TokenError as error:
                _log.warning("%s", error)
                self._tokens = ()
            except OSError as error:
                _log.warning("The tokens cannot be read now: %s", error)
                return (self._own,)
            self._seen = seen
        return (*self._tokens, self._own)


@dataclass(frozen=True)
class Guest:
    """A client over TCP."""

    token: Token
    tokens: KnownTokens

    async def while_valid(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """A stream that ends when the token is revoked or expires: looked at before each piece."""
        async with contextlib.aclosing(stream):
            async for piece in stream:
                if not self.tokens.is_valid(self.token):
                    return
                yield piece


def introduce(scope: Scope, guest: Guest) -> None:
    """Have the routes know that this request is a guest's."""
    scope[_KEY] = guest


async def _guest(request: Request) -> Guest | None:
    found: Guest | None = request.scope.get(_KEY)
    return found


Caller = Annotated[Guest | None, Depends(_guest)]
"""Whose request it is; None: the host's own user, over the socket."""


def _seen(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

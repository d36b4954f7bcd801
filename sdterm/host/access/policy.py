"""Who may use a port: the one judge of requests that come over TCP. Nothing of a body is read before it has spoken."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import Scope

from sdterm.core.settings.logins import admits
from sdterm.core.settings.settings import Settings
from sdterm.core.settings.tokens import TOKEN
from sdterm.host.access.attempts import Attempts
from sdterm.host.access.guests import Guest, KnownTokens
from sdterm.host.access.origins import Origins, origins_of
from sdterm.host.access.scopes import needed
from sdterm.messages import message, plural

T = TypeVar("T")
_NO_TOKEN = message("This address needs a token: `sdterm token new NAME` on the host's machine makes one.")
_WRONG_TOKEN = message("The token is not valid: it is not one of this host's, or it was revoked, or it has expired.")
_OWNERS = message("Only the host's own user can do this, on the host itself.")
_UNAUTHORIZED = {
    "Not authenticated": message("Not authenticated."),
    "Invalid authentication credentials": message("Invalid authentication credentials."),
    "Incorrect username or password": message("Incorrect username or password."),
}
"""A1111's words → the sentence for whoever reads a page."""
_PUBLIC = ("/", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect")
"""What A1111 answers without a login, too; there is nothing in it but a description of its API."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not let through. detail: A1111's words for it."""

    status: int
    code: str
    sentence: str
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Visit:
    """Somebody who looks at pages. secret: of the token that their workstation shows."""

    guest: Guest
    secret: str


@dataclass(frozen=True)
class Access:
    """What a port asks of its clients."""

    tokens: KnownTokens
    origins: Origins
    logins: Sequence[str] = ()
    """Of A1111's API, as `core.settings.logins` makes them."""
    is_local: bool = True
    """Only this machine reaches the port."""
    is_open: bool = True
    """A1111's API needs no credentials."""
    attempts: Attempts = field(default_factory=Attempts)
    shows_all: bool = False
    """Pages need none, either."""

    async def judged(self, scope: Scope) -> Guest | Refusal | None:
        """As `judge`, but a password that comes too soon after wrong ones waits for its turn, as long as few do."""
        return await self._in_turn(self.judge, scope)

    async def visited(self, scope: Scope) -> Visit | Refusal:
        """As `visit`, in the same way."""
        return await self._in_turn(self.visit, scope)

    async def _in_turn(self, judge: Callable[[Scope, bool], T | Refusal], scope: Scope) -> T | Refusal:
        found = judge(scope, False)
        if isinstance(found, Refusal) and found.status == 429:
            async with self.attempts.turn(_address(scope)) as is_there:
                return judge(scope, True) if is_there else found
        return found

    def judge(self, scope: Scope, has_waited: bool = False) -> Guest | Refusal | None:
        """The guest whose request it is, or why it is refused. None: A1111's API is asked by somebody who has a login,
        or needs none. has_waited: it is its turn to try a password."""
        headers = Headers(scope=scope)
        if sentence := self.origins.refusal(headers):
            return Refusal(403, "forbidden", sentence)
        shown = headers.getlist("authorization")
        kind, _, given = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        kind, given = kind.lower(), given.strip()
        name, password = _basic(given) if kind == "basic" else ("", None)
        secret = given if kind == "bearer" else password or ""
        if TOKEN.fullmatch(secret) and (token := self.tokens.find(secret)):
            return _allowed(Guest(token, self.tokens), scope)
        if is_ours(scope):
            known = kind == "bearer"
            challenge = {"www-authenticate": 'Bearer error="invalid_token"' if known else "Bearer"}
            return Refusal(401, "unauthorized", _WRONG_TOKEN if known else _NO_TOKEN, headers=challenge)
        if self.is_open or (self.is_local and scope["path"] in _PUBLIC):
            return None
        return self._login(scope, kind, name, password, has_waited)

    def visit(self, scope: Scope, has_waited: bool = False) -> Visit | Refusal:
        """Who asks for a page, or why they are not shown it: they have a token as their password, or a login, or need
        none. A browser shows either with each request, the one for a socket included."""
        headers = Headers(scope=scope)
        if sentence := self.origins.refusal(headers):
            return Refusal(403, "forbidden", sentence)
        shown = headers.getlist("authorization")
        kind, _, given = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        name, password = _basic(given.strip()) if kind.lower() == "basic" else ("", None)
        if password and TOKEN.fullmatch(password) and (token := self.tokens.find(password)):
            return Visit(Guest(token, self.tokens), password)
        if not self.shows_all:
            refused = self._login(scope, kind.lower(), name, password, has_waited)
            if refused:
                return replace(refused, headers={**refused.headers, "www-authenticate": 'Basic realm="sdterm"'})
        own = self.tokens.find(self.tokens.page)
        assert own
        return Visit(Guest(own, self.tokens), self.tokens.page)

    def _login(self, scope: Scope, kind: str, name: str, password: str | None, has_waited: bool) -> Refusal | None:
        if kind != "basic":
            return _unauthorized("Not authenticated")
        if password is None:
            return _unauthorized("Invalid authentication credentials")
        address = _address(scope)
        if not has_waited and (wait := self.attempts.wait(address)):
            said = plural(
                "There were too many wrong passwords from your address. Try again in {number} second.",
                "There were too many wrong passwords from your address. Try again in {number} seconds.",
                wait,
            )
            return Refusal(429, "too_many", said, said, {"retry-after": str(wait)})
        if not admits(self.logins, name, password):
            self.attempts.failed(address)
            return _unauthorized("Incorrect username or password")
        return None


def _address(scope: Scope) -> str:
    return (scope.get("client") or ("", 0))[0]


def access_of(settings: Settings, tokens: KnownTokens, *, is_local: bool = True) -> Access:
    """What the settings say of a port. is_local: only this machine reaches it."""
    origins = origins_of(settings, is_local=is_local)
    opens = is_open(settings, is_local=is_local)
    shows_all = opens and settings["api"]  # who sees a page could do as much by A1111's API
    return Access(tokens, origins, tuple(settings["api_auth"]), is_local, opens, shows_all=shows_all)


def is_open(settings: Settings, *, is_local: bool) -> bool:
    """Whether A1111's API needs no credentials."""
    return is_local and not (settings["api_auth"] or settings["credentials_always"] or settings["share"])


def is_ours(scope: Scope) -> bool:
    """Whether `/v1` is asked, and not A1111's API."""
    path: str = scope["path"]
    return path == "/v1" or path.startswith("/v1/")


def _allowed(guest: Guest, scope: Scope) -> Guest | Refusal:
    need = needed(scope["method"], scope["path"])
    if need is None:
        return Refusal(404, "bad_request", message("There is no such address.")) if is_ours(scope) else guest
    if need == "owner":
        return Refusal(403, "forbidden", _OWNERS)
    if not guest.token.allows(need):
        said = message(
            "The token {name} has the scope {scope}, and this needs {need}.",
            name=guest.token.name,
            scope=guest.token.scope,
            need=need,
        )
        return Refusal(403, "forbidden", said)
    return guest


def _unauthorized(detail: str) -> Refusal:
    return Refusal(401, "unauthorized", _UNAUTHORIZED[detail], detail)


def _basic(given: str) -> tuple[str, str | None]:
    """Name and password; None if there is none."""
    try:
        name, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", None
    return name, password if colon else None

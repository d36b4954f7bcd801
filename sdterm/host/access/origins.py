"""From where requests may come: by which names of this machine, and from which pages in a browser."""

import ipaddress
import re
import socket
from dataclasses import dataclass

from starlette.datastructures import Headers

from sdterm.core.settings.settings import Settings
from sdterm.host.access.sharing import tunnel_of
from sdterm.messages import message

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/\[\]]+)(?::\d+)?")
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_WRONG_NAME = message("This machine is not known by the name in the address. `server_hosts` in config.toml adds names.")
_WRONG_PAGE = message("Pages of other sites may not use this. --cors-allow-origins allows one.")


@dataclass(frozen=True)
class Origins:
    """A name that is not this machine's was put there by somebody's DNS; a page of another site acts without its
    user's will. Both are refused before anything else is looked at."""

    names: frozenset[str] = _LOOPBACK
    """In lower case; `.name` is everything below it."""
    any_address: bool = False
    """Whether an IP address will do as a name: no DNS can fake one."""
    pages: frozenset[str] = frozenset()
    """Origins, like `https://example.org`; `*` is every one."""
    pattern: re.Pattern[str] | None = None
    """Of more origins, as a whole; never of `null`, which every page can call itself in a frame."""

    def refusal(self, headers: Headers) -> str | None:
        """Why a request is refused, as a sentence; None if it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_known(host):
            return _WRONG_NAME
        if origin:
            return None if self._is_same(origin, host) or self.allows(origin) else _WRONG_PAGE
        crosses = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        return _WRONG_PAGE if crosses else None

    def allows(self, origin: str) -> bool:
        """Whether pages of that other site may read answers."""
        named = "*" in self.pages or bool(self.pattern and self.pattern.fullmatch(origin))
        return origin in self.pages or (named and origin != "null")

    def _is_known(self, host: str) -> bool:
        found = _HOST.fullmatch(host.lower())
        name = found[1].strip("[]") if found else ""
        below = any(name.endswith(each) for each in self.names if each.startswith("."))
        return name in self.names or below or (self.any_address and _is_address(name))

    @staticmethod
    def _is_same(origin: str, host: str) -> bool:
        """Whether a page came from here. Its scheme may be another: TLS may end before it reaches this process."""
        scheme, _, place = origin.partition("://")
        return scheme in ("http", "https") and place == host


def origins_of(settings: Settings, *, is_local: bool) -> Origins:
    """What the settings allow. is_local: the port is open to this machine alone. Raises re.error."""
    more = {name.strip().lower() for name in settings["server_hosts"]}
    if not is_local:
        own = socket.gethostname().lower()
        more |= {own, f"{own.partition('.')[0]}.local", (settings["server_name"] or own).lower()}
    if settings["share"]:
        more |= tunnel_of(settings["share"]).names
    pattern = settings["cors_allow_origins_regex"]
    return Origins(
        names=_LOOPBACK | more,
        any_address=not is_local,
        pages=frozenset(page.strip().rstrip("/") for page in settings["cors_allow_origins"]),
        pattern=re.compile(pattern) if pattern else None,
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

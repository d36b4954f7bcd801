"""What is open, and to whom, in one line."""

import ipaddress
import socket

import psutil

from sdterm.core.settings.settings import Settings
from sdterm.host.access.listening import Listening


def who_is_let_in(listening: Listening, settings: Settings) -> str:
    """For whoever started the host."""
    reached = "programs of this machine alone" if listening.is_local else "every machine that reaches this one"
    needs = ["/v1 needs a token"]
    if settings["api"]:
        is_open = listening.is_local and not settings["api_auth"] and not settings["credentials_always"]
        wanted = "no password" if is_open else "a login or a token" if settings["api_auth"] else "a token"
        needs.insert(0, f"A1111's API needs {wanted}")
    plain = "" if listening.tls or listening.is_local else " Without TLS, all of it can be read on the way."
    return f"Open at {_shown(listening)} to {reached}: {', '.join(needs)}.{plain}"


def _shown(listening: Listening) -> str:
    """Its address, for clients on other machines."""
    if not ipaddress.ip_address(listening.address.partition("%")[0]).is_unspecified:
        return listening.url
    scheme, _, _ = listening.url.partition("://")
    return f"{scheme}://{_outward()}:{listening.port}{listening.subpath}"


def _outward() -> str:
    """An address of this machine that others may know."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not ipaddress.ip_address(each.address).is_loopback:
                return str(each.address)
    return socket.gethostname()

"""What is open, and to whom, in one line."""

import ipaddress
import socket
import sys

import psutil

from sdterm.core.settings.settings import Settings
from sdterm.host.access.listening import Listening
from sdterm.host.access.policy import is_open
from sdterm.host.pages.pages import can_show
from sdterm.messages import Message, message, sentences


def who_is_let_in(listening: Listening, settings: Settings) -> str:
    """For whoever started the host."""
    url, in_browser = _shown(listening), _in_browser(settings)
    if listening.is_local:
        return sentences(
            message(
                "Open at {url} to programs of this machine alone: {needs}.", url=url, needs=_needs(listening, settings)
            ),
            in_browser,
        )
    opened = message(
        "Open at {url} to every machine that reaches this one: {needs}.", url=url, needs=_needs(listening, settings)
    )
    plain = "" if listening.tls else message("Without TLS, all of it can be read on the way.")
    return sentences(opened, plain, in_browser)


def _in_browser(settings: Settings) -> str:
    if not settings["web"]:
        return ""
    if can_show():
        return message("A browser shows the workstation there.")
    return message(
        "To see the workstation there in a browser: {python} -m pip install 'sdterm[web]'", python=sys.executable
    )


def _needs(listening: Listening, settings: Settings) -> Message:
    if not settings["api"]:
        return message("/v1 needs a token")
    if settings["api_auth"]:
        return message("A1111's API needs a login or a token, /v1 needs a token")
    if is_open(settings, is_local=listening.is_local):
        return message("A1111's API needs no password, /v1 needs a token")
    return message("A1111's API and /v1 need a token")


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

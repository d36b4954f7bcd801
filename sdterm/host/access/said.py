"""What is open, and to whom, in one line."""

import contextlib
import ipaddress
import socket
import sys
from dataclasses import replace

from sdterm.core.settings.settings import Settings
from sdterm.host.access.listening import Listening
from sdterm.host.access.policy import is_open
from sdterm.host.pages.pages import can_show
from sdterm.messages import Message, message, sentences


def who_is_let_in(listening: Listening, settings: Settings) -> str:
    """For whoever started the host."""
    url, in_browser = url_for_others(listening), _in_browser(listening, settings)
    needs = _needs(listening, settings)
    if listening.is_local and settings["share"]:
        opened = message("Open at {url} to programs of this machine, and shared: {needs}.", url=url, needs=needs)
        return sentences(opened, _login(settings), in_browser)
    if listening.is_local:
        opened = message("Open at {url} to programs of this machine alone: {needs}.", url=url, needs=needs)
        return sentences(opened, _login(settings), in_browser)
    opened = message("Open at {url} to every machine that reaches this one: {needs}.", url=url, needs=needs)
    plain = "" if listening.tls else message("Without TLS, all of it can be read on the way.")
    return sentences(opened, _login(settings), plain, in_browser)


def _login(settings: Settings) -> str:
    """What a login is for where A1111's API is off."""
    if settings["api"] or not settings["api_auth"]:
        return ""
    if settings["web"] and can_show():
        return message("The login opens the page in the browser alone; for A1111's API add --api.")
    return message("The login opens nothing: for A1111's API add --api.")


def _in_browser(listening: Listening, settings: Settings) -> str:
    if not settings["web"]:
        return ""
    if not listening.own_url:
        return message("To show the workstation there in a browser, serve with TLS: --tls-certfile and --tls-keyfile.")
    if can_show():
        is_free = settings["api"] and is_open(settings, is_local=listening.is_local)
        login = message("It asks for a login: a token is a password for any name.")
        return sentences(message("A browser shows the workstation there."), "" if is_free else login)
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


def url_for_others(listening: Listening) -> str:
    """Its address, for clients on other machines too."""
    address = ipaddress.ip_address(listening.address.partition("%")[0])
    return replace(listening, address=outward(address.version)).url if address.is_unspecified else listening.url


def outward(version: int) -> str:
    """The address of this machine that its connections to others come from, not one of a bridge of containers or of
    an interface that is down; its name, where it has none. version: 4 or 6."""
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((elsewhere, 9))  # sends nothing
        return str(asking.getsockname()[0])
    return socket.gethostname()

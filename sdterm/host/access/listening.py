"""Where the host listens for TCP: address, port and certificate, found before anything is served."""

import ipaddress
import re
import socket
import ssl
import time
from dataclasses import dataclass, replace
from errno import EACCES, EADDRINUSE
from pathlib import Path

import psutil

from sdterm.core.settings.rundir import RunFolder
from sdterm.core.settings.settings import Settings
from sdterm.core.settings.tokens import valid_tokens
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.host.access.connections import Listener
from sdterm.host.access.policy import is_open
from sdterm.messages import message

PORT = 7860
"""The first of those that are tried where no port is chosen, as A1111 does."""
TRIES = 100
_STRANGE_PAGES = ("https://example.invalid", "http://example.invalid", "https://example.invalid:8443")


_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Every address of the machine → one by which it reaches itself."""


class ListenError(SdtermError, OSError):
    """The host cannot, or must not, listen there; the message says what to do."""

    code = "cannot_listen"


@dataclass(frozen=True)
class Listening:
    """A port that is the host's, and how it is reached."""

    socket: Listener
    address: str
    port: int
    tls: ssl.SSLContext | None = None
    subpath: str = ""
    note: str = ""
    """What its user should know about the choice of the port; empty where there is nothing to say."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    @property
    def own_url(self) -> str | None:
        """Where the workstations of pages reach it; None where that would be neither by TLS nor by loopback."""
        if not (self.tls or self.is_local or self.address in _ALL):
            return None
        address = _ALL.get(self.address, self.address)
        return replace(self, address=address).url

    @property
    def url(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{shown}:{self.port}{self.subpath}"


def listen(settings: Settings, run_folder: RunFolder) -> Listening:
    """Take the port that the settings want. Raises ListenError: also where other machines would reach it and nobody
    would need credentials."""
    address = settings["server_name"] or ("0.0.0.0" if settings["listen"] else "127.0.0.1")
    family, place = _resolved(address)
    is_local = ipaddress.ip_address(place.partition("%")[0]).is_loopback
    _check_credentials(settings, run_folder, None if is_local else address)
    _check_pages(settings, is_local)
    tls = _tls(settings["tls_certfile"], settings["tls_keyfile"])
    subpath = f"/{settings['subpath'].strip('/')}" if settings["subpath"] else ""
    if settings.values["port"].source != "default":
        return _listening(_bound(family, place, settings["port"]), tls, subpath)
    note = ""
    for port in range(PORT, PORT + TRIES):
        try:
            return _listening(_bound(family, place, port), tls, subpath, note)
        except ListenError as error:
            if error.errno != EADDRINUSE:
                raise
            note = note or message(
                "Port {port} is taken by {holder}, so another one is used.", port=port, holder=_holder(port)
            )
    raise ListenError(
        EADDRINUSE,
        message(
            "The ports {first} to {last} are all taken. Choose another one: --port.", first=PORT, last=PORT + TRIES - 1
        ),
    )


def _listening(socket: Listener, tls: ssl.SSLContext | None, subpath: str, note: str = "") -> Listening:
    address, port = socket.getsockname()[:2]
    return Listening(socket, address, port, tls, subpath, note)


def _resolved(name: str) -> tuple[int, str]:
    """The family and the address of a name. Raises ListenError."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            None,
            message(
                "'{name}' is not an address of this machine ({error}). Check --server-name.",
                name=printable(name),
                error=error,
            ),
        ) from error
    family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)  # localhost has one of each
    return family, str(place[0])


def _check_credentials(settings: Settings, run_folder: RunFolder, address: str | None) -> None:
    """address: that others reach; None: they reach none. Raises ListenError, TokenError."""
    if settings["api_auth"] or settings["share"] or (address is None and not settings["credentials_always"]):
        return
    if valid_tokens(run_folder.tokens, time.time()):
        return
    raise ListenError(
        None,
        message(
            "Listening on {address} lets other machines in, so make a token first with `sdterm token new NAME`, or "
            "give a login with --api-auth NAME:PASSWORD.",
            address=printable(address),
        )
        if address
        else message(
            "credentials_always is on, so make a token first with `sdterm token new NAME`, or give a login "
            "with --api-auth NAME:PASSWORD."
        ),
    )


def _check_pages(settings: Settings, is_local: bool) -> None:
    """Raises ListenError if every page that somebody opens could use the API, or a pattern is none."""
    try:
        pattern = re.compile(settings["cors_allow_origins_regex"] or "(?!)")
    except re.error as error:
        raise ListenError(
            None, message("--cors-allow-origins-regex is not a pattern: {error}.", error=error)
        ) from error
    if not is_open(settings, is_local=is_local):
        return
    if {"*", "null"} & {page.strip() for page in settings["cors_allow_origins"]}:
        raise ListenError(
            None,
            message(
                "--cors-allow-origins * would let every page that you open use sdterm without a password. Name the "
                "pages, or give a login: --api-auth NAME:PASSWORD."
            ),
        )
    if any(map(pattern.fullmatch, _STRANGE_PAGES)):
        raise ListenError(
            None,
            message(
                "--cors-allow-origins-regex matches every page, so any that you open could use sdterm without a "
                "password. Use a narrower pattern, or give a login: --api-auth NAME:PASSWORD."
            ),
        )


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Raises ListenError."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ListenError(None, message("TLS needs both a certificate and its key: --tls-certfile and --tls-keyfile."))
    for path in (certificate, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ListenError(
                error.errno, message("{path} cannot be read: {why}.", path=printable(path), why=error.strerror)
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise ListenError(
            None,
            message(
                "{certificate} and {key} are not a certificate with its key, in PEM, without a passphrase ({why}).",
                certificate=printable(Path(certificate).name),
                key=printable(Path(key).name),
                why=getattr(error, "reason", None) or error,
            ),
        ) from error
    return context


def _bound(family: int, address: str, port: int) -> Listener:
    """Raises ListenError."""
    listener = Listener(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)  # whoever comes before it serves, waits
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ListenError(error.errno, _why_not(error, address, port)) from error
    return listener


def _why_not(error: OSError, address: str, port: int) -> str:
    if error.errno == EADDRINUSE:
        return message("Port {port} is taken by {holder}. Choose another one: --port.", port=port, holder=_holder(port))
    if error.errno == EACCES:
        return message("Port {port} is for the system's own services. Choose one above 1023: --port.", port=port)
    return message(
        "This machine cannot listen on {address}, port {port} ({why}).",
        address=printable(address),
        port=port,
        why=error.strerror,
    )


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                name = printable(psutil.Process(each.pid).name())
                return message("{name} (process {pid})", name=name, pid=each.pid)
    except (psutil.Error, OSError):  # some systems tell only root
        pass
    return message("another program")

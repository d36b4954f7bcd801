"""A host on another machine: its address, the token to show there, and the certificate to trust."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from sdterm.core.settings.settings import Settings
from sdterm.core.settings.tokens import TOKEN
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, HostError
from sdterm.messages import message

if TYPE_CHECKING:  # it is imported when something is asked: addresses are looked at before a screen is painted
    import httpx2 as httpx

CONNECT_LIMIT = 2.5
"""Seconds for one connection: on a line that loses it, the next try is soon enough."""
_LONGEST = 4096  # bytes of a token file


class RemoteError(HostError):
    """That is no address, token or certificate that can be used; the message says why."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Remote:
    """Where a host is, and how it is convinced."""

    url: str
    """`https://HOST[:PORT][/SUBPATH]`, without `/v1`."""
    token: str = field(repr=False)
    ca: Path | None = None
    """The only certificate to trust, or that of its signer (PEM); None: those that this machine trusts."""
    is_own: bool = False
    """Whether this host has started its client, on its own machine: it has its certificate under any name."""

    @property
    def place(self) -> str:
        """What to call it."""
        return printable(self.url)

    def __post_init__(self) -> None:
        """Raises RemoteError."""
        check_address(self.url)
        if not TOKEN.fullmatch(self.token):
            raise RemoteError(
                message("The token is not valid: `sdterm token new NAME` on the host's machine prints one.")
            )


def remote_of(settings: Settings) -> Remote:
    """The host that the setting `connect` names by its address. Raises RemoteError. Nothing is asked of it."""
    url, token_file, ca = settings["connect"], settings["token_file"], settings["tls_ca"]
    check_address(url)
    if not token_file:
        raise RemoteError(
            message(
                "The host at {url} wants a token: --token-file FILE. There, `sdterm token new NAME` prints one.",
                url=printable(url),
            )
        )
    token, certificate = read_token(Path(token_file).expanduser()), Path(ca).expanduser() if ca else None
    return Remote(url, token, certificate, is_own=settings["in_page"])


def check_address(url: str) -> None:
    """Raises RemoteError if that is no address of a host, or one where others could read the token."""
    parts = _parts(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RemoteError(
            message("{url} is not the address of a host: it must look like https://HOST:7860.", url=printable(url))
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RemoteError(
            message("The address of a host cannot contain a user, password, ? or #. A token comes from a file.")
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise RemoteError(
            message(
                "Without TLS, others on the network could read the token for {host}. Use https:// or SSH.",
                host=printable(parts.hostname),
            )
        )


def read_token(path: Path) -> str:
    """The token in a file that nobody else can read, alone on its first line. Raises RemoteError."""
    shown = printable(str(path))
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise RemoteError(message("{path} is not a file, so it contains no token.", path=shown))
            if found.st_mode & 0o077:
                raise RemoteError(
                    message(
                        "Others can read {path}, so its token is not used. `chmod 600` makes the file private.",
                        path=shown,
                    )
                )
            content = file.read(_LONGEST)
    except OSError as error:
        raise RemoteError(
            message("The token file {path} cannot be read: {why}.", path=shown, why=error.strerror)
        ) from error
    token = content.decode("utf-8", "replace").strip()
    if not TOKEN.fullmatch(token):
        raise RemoteError(
            message("{path} has no token: `sdterm token new NAME` on the host's machine prints one.", path=shown)
        )
    return token


def http_of(remote: Remote, limit: float) -> httpx.Client:
    """An HTTP client of that host's `/v1`. limit: seconds for one call. Raises RemoteError if the certificate cannot be
    used."""
    import httpx2 as httpx

    host = _parts(remote.url).hostname or ""
    try:
        context: ssl.SSLContext | bool = ssl.create_default_context(cafile=remote.ca) if remote.ca else True
        if isinstance(context, ssl.SSLContext) and remote.is_own and is_loopback(host):
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except OSError as error:  # an SSLError is one
        raise RemoteError(
            message("The certificate {path} cannot be read: {why}.", path=printable(str(remote.ca)), why=error.strerror)
        ) from error
    return httpx.Client(
        base_url=f"{remote.url.rstrip('/')}/v1",
        headers={"authorization": f"Bearer {remote.token}"},
        verify=context,
        timeout=httpx.Timeout(limit, connect=CONNECT_LIMIT),
        trust_env=not is_loopback(host),  # a proxy is never asked for this machine
    )


def reason_of(error: httpx.HTTPError, remote: Remote) -> str:
    """Why a call to that host failed, as sentences."""
    import httpx2 as httpx

    where = printable(remote.url)
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return message(
                "The certificate of {url} is not trusted: {why}. If it is your own host, give its certificate: "
                "--tls-ca FILE.",
                url=where,
                why=cause.verify_message.rstrip("."),
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return message(
            "The host at {url} cannot be reached ({why}). Check that the host is running and the network works.",
            url=where,
            why=printable(str(error)),
        )
    if isinstance(error, httpx.TimeoutException):
        return message("The host at {url} does not answer.", url=where)
    if _answers_by_tls(remote.url):
        return message("The host at {url} speaks TLS: connect to it by https://.", url=where)
    return message("The connection to {url} broke. The jobs on the host continue.", url=where)


def _answers_by_tls(url: str) -> bool:
    """Whether a TLS server is where plain HTTP was spoken."""
    parts = _parts(url)
    if parts.scheme != "http":
        return False
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is told to it
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_LIMIT) as line:
            context.wrap_socket(line, server_hostname=parts.hostname).close()
    except OSError:  # an SSLError is one
        return False
    return True


def _parts(url: str) -> SplitResult:
    """Raises RemoteError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise RemoteError(
            message("{url} is not the address of a host: {why}.", url=printable(url), why=error)
        ) from error
    return parts


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Asking servers, which are strangers': https alone, but for this machine; a token goes to the server that it is for
and to no other; what a URL holds beside its path is never shown.
"""

import contextlib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.messages import message

if TYPE_CHECKING:
    import httpx2

_REDIRECTS = 5


class WebError(SdtermError):
    """A server does not give what was asked for; the message says why."""

    code = "download_failed"


class BrokenOffError(WebError):
    """The connection broke: the same may work in a moment."""

    code = "download_broke_off"


def check_url(url: str, before: str | None = None) -> None:
    """Whether a URL may be asked, `before` being the one that led to it. Raises WebError."""
    try:
        to = urlsplit(url)
        here = all(is_loopback(urlsplit(one).hostname) for one in (url, before or url))
        _ = to.port
    except ValueError as error:
        raise refused(url, message("it is not a valid URL: {problem}", problem=error)) from error
    if to.username is not None or to.password is not None:
        raise WebError(
            message("The URL has a user name or password in it, and is refused: logs and process lists would show it.")
        )
    if to.scheme == "https" and to.hostname:
        return
    if to.scheme == "http" and here:
        return
    raise refused(url, message("downloads use https only"))


def refused(source: str, why: str) -> WebError:
    return WebError(message("{url} is refused: {reason}.", url=shown(source), reason=why))


def shown(url: str) -> str:
    """A URL as it may stand in a sentence: without what follows the path, where servers put signatures and tokens."""
    return printable(url.partition("?")[0].partition("#")[0] if "://" in url else url)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Which server a URL means."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


@contextlib.contextmanager
def answer(url: str, headers: Mapping[str, str] | None = None, token: str | None = None) -> Iterator["httpx2.Response"]:
    """The answer to a GET, its body not read yet; redirects are followed, each checked. token: for the first URL's
    server alone. Raises WebError, BrokenOffError."""
    import httpx2  # costs a tenth of a second

    asked, before, first = shown(url), None, origin(url)
    try:
        with httpx2.Client(timeout=30, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(_REDIRECTS + 1):
                check_url(url, before)
                secret = {"Authorization": f"Bearer {token}"} if token and origin(url) == first else {}
                with client.stream("GET", url, headers={**(headers or {}), **secret}) as response:
                    if response.has_redirect_location:
                        before, url = url, _led(url, response.headers["location"])
                        continue
                    yield response
                    return
            raise WebError(message("{url} redirects to other addresses again and again.", url=asked))
    except (httpx2.InvalidURL, UnicodeError, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        raise WebError(message("{url} cannot be downloaded: {problem}.", url=asked, problem=_reason(error))) from error
    except httpx2.HTTPError as error:
        raise BrokenOffError(
            message("{url} cannot be downloaded: {problem}.", url=asked, problem=_reason(error))
        ) from error


def _reason(error: Exception) -> str:
    return printable(str(error).rstrip(".") or type(error).__name__)


def _led(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise refused(location, message("it is not a valid URL: {problem}", problem=error)) from error


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return False

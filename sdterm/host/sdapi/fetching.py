"""Pictures that a request names by URL, fetched from the public Internet alone.

Otherwise whoever may ask this API could have it ask where they themselves cannot: this machine's other programs, its
network, its cloud's metadata. So a host's name is resolved once, all its addresses must be public, and the connection
goes to one of those: what the name means a moment later does not matter. Each redirect is a new URL.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import psutil

from sdterm.core.settings.settings import Settings
from sdterm.host.sdapi.bodies import MOST_BYTES
from sdterm.host.sdapi.encoded import BadImageError
from sdterm.version import __version__

if TYPE_CHECKING:
    import httpx2

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[Address]]

MOST_URLS = 64
"""Of one request; all of them together have `MOST_BYTES`."""
LIMIT = 30.0
"""Seconds that one picture may take, redirects included."""
_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_ALL_PORTS = range(1, 2**16)
_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchError(BadImageError):
    """A picture is not fetched."""


class Fetcher:
    """Fetches the pictures of one request. is_open: whether the address may be asked; limit: seconds for each."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        is_open: Callable[[Address], bool] | None = None,
        limit: float = LIMIT,
    ) -> None:
        self._resolve, self._is_open, self._limit = resolve or addresses, is_open or is_public, limit
        self._left, self._bytes_left = MOST_URLS, MOST_BYTES

    def __call__(self, url: str) -> bytes:
        """What lies at a URL. Raises FetchError."""
        import httpx2  # costs a tenth of a second

        if not self._left:
            raise FetchError(f"More than {MOST_URLS} pictures by URL are not fetched for one request.")
        self._left -= 1
        try:
            return asyncio.run(self._fetched(url))
        except TimeoutError as error:
            raise FetchError(f"Invalid image url: it takes more than {self._limit:.0f} s.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            if isinstance(error, FetchError):
                raise
            raise FetchError(f"Invalid image url: it cannot be fetched ({type(error).__name__}).") from error

    async def _fetched(self, url: str) -> bytes:
        """Raises FetchError, TimeoutError, ValueError, and what httpx2 raises."""
        import httpx2

        headers = {"User-Agent": f"sdterm/{__version__}"}
        async with asyncio.timeout(self._limit), httpx2.AsyncClient(timeout=10, headers=headers) as client:
            for _ in range(_REDIRECTS + 1):
                asked = httpx2.URL(url)
                host = asked.raw_host.decode("ascii")
                address = self._address(asked.scheme, host, asked.port)
                async with client.stream(
                    "GET",
                    asked.copy_with(host=str(address), username=None, password=None, fragment=None),
                    headers={"Host": asked.netloc.decode("ascii"), "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": host},
                ) as response:
                    if not response.has_redirect_location:
                        return await self._content(response.raise_for_status())
                    url = urljoin(url, response.headers["location"])
        raise FetchError("Invalid image url: it leads on and on to other URLs.")

    async def _content(self, response: "httpx2.Response") -> bytes:
        """The body as it comes: nothing is unpacked. Raises FetchError."""
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                raise FetchError(f"Invalid image url: the pictures of a request have more than {MOST_BYTES} bytes.")
        return bytes(content)

    def _address(self, scheme: str, host: str, port: int | None) -> Address:
        """Where a host may be asked: of several addresses the first, if all of them may. Raises FetchError."""
        if scheme not in _PORTS or not host:
            raise FetchError("Invalid image url: it begins with neither http:// nor https://.")
        if port is not None and port not in _ALL_PORTS:
            raise FetchError(f"Invalid image url: there is no port {port}.")
        try:
            found = self._resolve(host, port or _PORTS[scheme])
        except (OSError, UnicodeError) as error:
            raise FetchError("Invalid image url: its host is not found.") from error
        if not found or not all(map(self._is_open, found)):
            raise FetchError("Request to local resource not allowed")
        return found[0]


def fetcher(settings: Settings) -> Fetcher | None:
    """What fetches the pictures that one request names by URL, where the settings allow it."""
    return Fetcher() if settings["api_fetch"] else None


def addresses(host: str, port: int) -> list[Address]:
    """All addresses of a host, however it is written. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(address[0])) for *_, address in found]


def is_public(address: Address) -> bool:
    """Whether it is an address of the Internet, and none of this machine's."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and address not in _own()


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that one of IPv6 stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _own() -> set[Address]:
    """The addresses of this machine."""
    families = (socket.AF_INET, socket.AF_INET6)
    cards = (card for cards in psutil.net_if_addrs().values() for card in cards)
    return {ipaddress.ip_address(card.address.partition("%")[0]) for card in cards if card.family in families}

"""Passwords are tried slowly: an address that gave wrong ones must wait.

Behind a tunnel or proxy everybody has one address. So what comes meanwhile is not refused, but waits in a line until
the next password may be tried: a guesser slows others down, and does not keep them out.
"""

import asyncio
import ipaddress
import math
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

FREE = 10
"""Wrong passwords that cost no wait."""
EACH = 6.0
"""Seconds after which one of them is forgotten."""
LINE = 4
"""Requests of an address that wait for their try; more are refused."""
_MOST = 10_000  # addresses that are remembered


class Attempts:
    """Failed logins of each address.

    clock: seconds. sleep: waits some of them.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()
        self._lines: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()

    def wait(self, address: str) -> int:
        """Seconds until that address may try again; 0 is now. Nobody overtakes those who wait in its line."""
        key = _neighbourhood(address)
        return max(self._left(key), 1 if self._waiting[key] else 0)

    def failed(self, address: str) -> None:
        """Note a wrong password."""
        key = _neighbourhood(address)
        now = self._clock()
        self._forgotten_at[key] = max(self._forgotten_at.pop(key, 0.0), now) + EACH
        if len(self._forgotten_at) > _MOST:
            self._forgotten_at.popitem(last=False)

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[bool]:
        """Wait in the line of that address until a password may be tried; False, at once, where the line is full."""
        key = _neighbourhood(address)
        if self._waiting[key] >= LINE:
            yield False
            return
        self._waiting[key] += 1
        try:
            async with self._lines[key]:
                while left := self._left(key):
                    await self._sleep(left)
                yield True
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._lines[key]

    def _left(self, key: str) -> int:
        return max(0, math.ceil(self._forgotten_at.get(key, 0.0) - self._clock() - (FREE - 1) * EACH))


def _neighbourhood(address: str) -> str:
    """Of an IPv6 address the network: whoever has one of its addresses has all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))

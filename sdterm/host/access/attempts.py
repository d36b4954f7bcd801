"""Passwords are tried slowly: an address that gave wrong ones must wait."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 10
"""Wrong passwords that cost no wait."""
EACH = 6.0
"""Seconds after which one of them is forgotten."""
_MOST = 10_000  # addresses that are remembered


class Attempts:
    """Failed logins of each address.

    clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until that address may try again; 0 is now."""
        left = self._forgotten_at.get(_neighbourhood(address), 0.0) - self._clock()
        return max(0, math.ceil(left - (FREE - 1) * EACH))

    def failed(self, address: str) -> None:
        """Note a wrong password."""
        key = _neighbourhood(address)
        now = self._clock()
        self._forgotten_at[key] = max(self._forgotten_at.pop(key, 0.0), now) + EACH
        if len(self._forgotten_at) > _MOST:
            self._forgotten_at.popitem(last=False)


def _neighbourhood(address: str) -> str:
    """Of an IPv6 address the network: whoever has one of its addresses has all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))

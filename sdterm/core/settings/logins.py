"""Logins of the HTTP API. They are kept as hashes, so that no list of settings and no list of processes shows a
password."""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

_COST = {"n": 2**12, "r": 8, "p": 1}
_LONGEST = 1000  # characters
_SHORT = 8  # characters of a password
_FIRST_TRIED = ("password", "passw0rd", "12345678", "123456789", "1234567890", "qwertyuiop", "iloveyou")


def logins(text: str) -> tuple[str, ...]:
    """`NAME:PASSWORD,…`, as A1111's --api-auth has them, each as `NAME:HASH`. Raises ValueError."""
    found = []
    for login in text.split(","):
        name, colon, password = (part.strip() for part in login.partition(":"))
        if not (name and colon and password) or len(login) > _LONGEST:
            raise ValueError(login)
        found.append(f"{name}:{_hash(name, password)}")
    return tuple(found)


def easily_guessed(text: str) -> tuple[str, ...]:
    """The names of such logins whose passwords are the first that others try."""
    pairs = [tuple(part.strip() for part in login.partition(":")) for login in text.split(",")]
    return tuple(
        name
        for name, _, password in pairs
        if len(password) < _SHORT or password.casefold() in (name.casefold(), *_FIRST_TRIED)
    )


def admits(known: Sequence[str], name: str, password: str) -> bool:
    """Whether one of the logins is this one."""
    if len(name) + len(password) > _LONGEST:
        return False
    given = f"{name}:{_hash(name, password)}".encode()
    return any([hmac.compare_digest(login.encode(), given) for login in known])


@lru_cache(100)
def _hash(name: str, password: str) -> str:
    """The same each time: the settings of two starts are compared."""
    salt = f"sdterm:{name}".encode()
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_COST).hex()

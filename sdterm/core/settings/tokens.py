"""Tokens: what programs show that use the host over TCP. The file holds hashes; a token itself is shown once."""

import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from sdterm.core.files import write_atomically
from sdterm.core.locks import lock
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

Scope = Literal["read", "generate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a token allows; each scope includes those before it."""
TOKEN = re.compile(r"sdterm_[A-Za-z0-9_-]{43}")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_PATIENCE = 5.0  # seconds for another process that changes the file


class TokenError(SdtermError, ValueError):
    """A token cannot be made, read or revoked; the message says why."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Token:
    """One token, without its secret."""

    name: str
    sha256: str
    scope: Scope
    created: float
    """Seconds since 1970."""
    expires: float | None = None
    """Seconds since 1970; None is never."""

    def allows(self, scope: Scope) -> bool:
        return SCOPES.index(scope) <= SCOPES.index(self.scope)

    def is_expired(self, now: float) -> bool:
        return now >= (math.inf if self.expires is None else self.expires)


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file; none if there is no file. Raises TokenError if it cannot be understood, OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        tokens = tuple(Token(**row) for row in json.loads(content)["tokens"])
        sound = all(_is_sound(token) for token in tokens)
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        raise TokenError(
            message(
                "{file} is damaged, so no token is accepted. Delete it, and make new tokens with "
                "`sdterm token new NAME`.",
                file=path,
            )
        )
    return tokens


def valid_tokens(path: Path, now: float) -> tuple[Token, ...]:
    """Those of a file that have not expired. now: seconds since 1970. Raises as `read_tokens`."""
    return tuple(token for token in read_tokens(path) if not token.is_expired(now))


def find_token(tokens: Sequence[Token], secret: str) -> Token | None:
    """The token that has this secret, expired or not. It takes equally long whichever it is."""
    given = digest_of(secret)
    found = [token for token in tokens if secrets.compare_digest(token.sha256, given)]
    return found[0] if found else None


def digest_of(secret: str) -> str:
    """A token has 256 random bits, so a fast hash keeps it as safe as a slow one would."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(path: Path, name: str, scope: Scope, now: float, expires: float | None = None) -> str:
    """Make a token and return its secret, which is kept nowhere. now, expires: seconds since 1970. Raises TokenError,
    OSError."""
    if not _NAME.fullmatch(name):
        raise TokenError(
            message("The name of a token has 1 to 60 letters, digits, dots, dashes and underscores, such as laptop-2.")
        )
    secret = f"sdterm_{secrets.token_urlsafe(32)}"
    with _changing(path):
        tokens = read_tokens(path)
        if any(token.name == name for token in tokens):
            raise TokenError(
                message("A token named {name} already exists. `sdterm token revoke {name}` revokes it.", name=name)
            )
        _write(path, (*tokens, Token(name, digest_of(secret), scope, now, expires)))
    return secret


def revoke_token(path: Path, name: str) -> None:
    """Make a token worthless. Raises TokenError if there is none of that name, OSError."""
    with _changing(path):
        tokens = read_tokens(path)
        kept = tuple(token for token in tokens if token.name != name)
        if kept == tokens:
            raise TokenError(
                message("There is no token named {name}. The tokens are: {names}.", name=name, names=_names(tokens))
            )
        _write(path, kept)


def _names(tokens: Sequence[Token]) -> str:
    return ", ".join(token.name for token in tokens) or message("none")


def _is_sound(token: Token) -> bool:
    texts = (token.name, token.sha256)
    times = (token.created, 0.0 if token.expires is None else token.expires)
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(time) in (int, float) for time in times)
        and bool(_NAME.fullmatch(token.name) and re.fullmatch("[0-9a-f]{64}", token.sha256))
        and token.scope in SCOPES
    )


def _write(path: Path, tokens: Sequence[Token]) -> None:
    write_atomically(path, json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=1).encode(), private=True)


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """One process at a time changes the file: it holds the folder's lock. Raises TokenError, OSError."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not lock(folder, patience=_PATIENCE):
            raise TokenError(message("Another program is changing the tokens and does not finish. Try again."))
        yield
    finally:
        os.close(folder)

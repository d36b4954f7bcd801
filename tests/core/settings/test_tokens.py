"""Tokens as they are kept: hashed, private, whole."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdterm.core.settings.tokens import SCOPES, TOKEN, TokenError, find_token, new_token, read_tokens, revoke_token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_kept_as_a_hash_in_a_file_for_its_user_alone(path: Path) -> None:
    secret = new_token(path, "laptop", "generate", 5.0, 9.0)
    assert TOKEN.fullmatch(secret) and secret not in path.read_text() and secret[7:] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (token,) = read_tokens(path)
    assert (token.name, token.scope, token.created, token.expires) == ("laptop", "generate", 5.0, 9.0)
    assert find_token([token], secret) == token and find_token([token], secret[:-1]) is None
    assert not token.is_expired(8.9) and token.is_expired(9.0)


def test_a_scope_includes_those_before_it(path: Path) -> None:
    for scope in SCOPES:
        new_token(path, scope, scope, 0.0)
    allowed = {token.name: [scope for scope in SCOPES if token.allows(scope)] for token in read_tokens(path)}
    assert allowed == {
        "read": ["read"],
        "generate": ["read", "generate"],
        "admin": ["read", "generate", "admin"],
    }


def test_a_revoked_token_is_gone_and_the_others_stay(path: Path) -> None:
    secrets = {name: new_token(path, name, "read", 0.0) for name in ("a", "b")}
    revoke_token(path, "a")
    assert find_token(read_tokens(path), secrets["a"]) is None
    assert find_token(read_tokens(path), secrets["b"])
    with pytest.raises(TokenError, match=r"The tokens are: b\."):
        revoke_token(path, "a")


def test_two_tokens_never_have_one_name(path: Path) -> None:
    new_token(path, "a", "read", 0.0)
    with pytest.raises(TokenError, match="A token named a already"):
        new_token(path, "a", "admin", 0.0)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "ä", "x" * 61, "a\n", "\x1b[31m", "../a"])
def test_a_name_that_could_be_misread_is_refused(path: Path, name: str) -> None:
    with pytest.raises(TokenError, match="1 to 60 letters"):
        new_token(path, name, "read", 0.0)
    assert not path.exists()


def test_tokens_that_are_made_at_once_are_all_there(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: new_token(path, f"t{n}", "read", 0.0), range(12)))
    assert {token.name for token in read_tokens(path)} == {f"t{n}" for n in range(12)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"tokens": [{}]}',
        b'{"tokens": [5]}',
        b"[" * 100_000,
        *(
            json.dumps({"tokens": [{"name": "a", "sha256": "0" * 64, "scope": "read", "created": 0} | wrong]}).encode()
            for wrong in (
                {"scope": "owner"},
                {"sha256": ""},
                {"name": 5},
                {"created": None},
                {"expires": "x"},
                {"x": 1},
            )
        ),
    ],
)
def test_a_damaged_file_allows_nobody(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(TokenError, match="damaged, so no token is accepted"):
        read_tokens(path)

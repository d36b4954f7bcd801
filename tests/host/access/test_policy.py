"""Who may use a port: names, pages, logins, tokens."""

import base64
from pathlib import Path
from typing import Any

import pytest

from sdterm.core.settings.logins import logins
from sdterm.core.settings.tokens import new_token
from sdterm.host.access.attempts import EACH, FREE, Attempts
from sdterm.host.access.guests import Guest, KnownTokens
from sdterm.host.access.policy import Access, Refusal, access_of
from tests.host.conftest import settings_of

Headers = dict[str, str]


def access(root: Path, *, is_local: bool = True, **settings: object) -> Access:
    found = settings_of(root)
    for key, value in settings.items():
        found = found.with_value(key, value, "a test")
    return access_of(found, KnownTokens(root / "tokens.json", lambda: 0.0), is_local=is_local)


def asked(path: str, headers: Headers, method: str = "GET", client: str = "192.0.2.1") -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": raw, "client": (client, 5), "query_string": b""}


def basic(name: str, password: str) -> Headers:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


LOCAL = {"host": "127.0.0.1:7860"}


# --- names and pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "local", "far"),
    [
        ("127.0.0.1:7860", True, True),
        ("localhost", True, True),
        ("LocalHost:1", True, True),
        ("[::1]:7860", True, True),
        ("gpu.example.org", True, True),
        ("192.0.2.7:7860", False, True),
        ("[2001:db8::1]:7860", False, True),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("evil.example@127.0.0.1", False, False),
        ("", False, False),
        ("[", False, False),
    ],
)
def test_a_name_that_somebodys_dns_gave_this_machine_is_refused(
    tmp_path: Path, host: str, local: bool, far: bool
) -> None:
    for is_local, answered in ((True, local), (False, far)):
        port = access(tmp_path, is_local=is_local, server_hosts=("GPU.example.org",), api_auth=logins("a:b"))
        found = port.judge(asked("/sdapi/v1/options", {"host": host} | basic("a", "b")))
        assert (found is None) == answered, (is_local, found)


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:7860"}, True),
        ({"origin": "https://127.0.0.1:7860"}, True),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "http://localhost:7860"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1:7860.evil.example"}, False),
        ({"origin": "ftp://127.0.0.1:7860"}, False),
        ({"origin": "https://mine.example"}, True),
        ({"origin": "https://a.ours.example"}, True),
        ({"origin": "https://a.ours.example.evil.example"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
    ],
    ids=str,
)
def test_a_page_of_another_site_does_nothing(tmp_path: Path, headers: Headers, answered: bool) -> None:
    port = access(
        tmp_path,
        cors_allow_origins=("https://mine.example/",),
        cors_allow_origins_regex=r"https://\w+\.ours\.example",
    )
    for path, method in (("/sdapi/v1/txt2img", "POST"), ("/sdapi/v1/options", "GET")):
        found = port.judge(asked(path, LOCAL | headers, method))
        assert (found is None) == answered
        assert answered or (isinstance(found, Refusal) and found.status == 403)


def test_every_page_may_be_allowed_but_none_without_a_name(tmp_path: Path) -> None:
    for port in (access(tmp_path, cors_allow_origins=("*",)), access(tmp_path, cors_allow_origins_regex=".*")):
        assert port.judge(asked("/sdapi/v1/options", LOCAL | {"origin": "https://any.example"})) is None
        assert isinstance(port.judge(asked("/sdapi/v1/options", LOCAL | {"origin": "null"})), Refusal)


# --- credentials ----------------------------------------------------------------------------------------------------


def status(found: Guest | Refusal | None) -> int:
    return found.status if isinstance(found, Refusal) else 200


def test_programs_of_this_machine_need_nothing_unless_that_is_wanted(tmp_path: Path) -> None:
    ask = asked("/sdapi/v1/txt2img", LOCAL, "POST")
    assert status(access(tmp_path).judge(ask)) == 200
    assert status(access(tmp_path, credentials_always=True).judge(ask)) == 401
    assert status(access(tmp_path, api_auth=logins("a:b")).judge(ask)) == 401
    assert status(access(tmp_path, is_local=False).judge(ask)) == 401
    assert status(access(tmp_path).judge(asked("/v1/health", LOCAL))) == 401


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/sdapi/v1/cmd-flags", "/internal/ping", "/nope", "//"]
)
def test_from_elsewhere_nothing_at_all_is_told_without_credentials(tmp_path: Path, path: str) -> None:
    port = access(tmp_path, is_local=False, api_auth=logins("a:b"))
    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT"):
        assert status(port.judge(asked(path, LOCAL, method))) == 401
    assert status(port.judge(asked(path, LOCAL | basic("a", "b")))) == 200


def test_a_login_opens_a1111s_api_and_never_v1(tmp_path: Path) -> None:
    port = access(tmp_path, api_auth=logins("a:b"))
    assert status(port.judge(asked("/sdapi/v1/options", LOCAL | basic("a", "b"), "POST"))) == 200
    assert status(port.judge(asked("/v1/health", LOCAL | basic("a", "b")))) == 401


def test_a_token_opens_a1111s_api_too_as_a_bearer_or_as_a_password(tmp_path: Path) -> None:
    token = new_token(tmp_path / "tokens.json", "bot", "generate", 0.0)
    port = access(tmp_path, is_local=False)
    for shown in ({"authorization": f"Bearer {token}"}, basic("anything", token)):
        assert isinstance(port.judge(asked("/sdapi/v1/txt2img", LOCAL | shown, "POST")), Guest)
        found = port.judge(asked("/sdapi/v1/options", LOCAL | shown, "POST"))
        assert isinstance(found, Refusal) and found.status == 403 and "needs admin" in found.sentence
    assert status(port.judge(asked("/sdapi/v1/txt2img", LOCAL | basic("bot", token + "x"), "POST"))) == 401


def test_who_guesses_must_wait_and_who_has_a_token_need_not(tmp_path: Path) -> None:
    token = new_token(tmp_path / "tokens.json", "bot", "admin", 0.0)
    clock = [0.0]
    port = access(tmp_path, is_local=False, api_auth=logins("a:b"))
    port = Access(port.tokens, port.origins, port.logins, False, False, Attempts(lambda: clock[0]))

    def tried(password: str, client: str = "192.0.2.1") -> Refusal | Guest | None:
        return port.judge(asked("/sdapi/v1/options", LOCAL | basic("a", password), client=client))

    for n in range(FREE):
        assert status(tried(f"guess {n}")) == 401
    late = tried("b")
    assert isinstance(late, Refusal) and late.status == 429 and late.headers["retry-after"] == str(int(EACH))
    assert "Try again in" in late.sentence
    assert status(tried("b", client="192.0.2.2")) == 200, "others are not held up"
    assert status(port.judge(asked("/sdapi/v1/options", LOCAL | {"authorization": f"Bearer {token}"}))) == 200
    clock[0] += EACH
    assert status(tried("b")) == 200
    assert status(tried("guess")) == 401 and status(tried("b")) == 429


def test_a_network_of_addresses_is_one_guesser_and_not_too_many_are_remembered() -> None:
    attempts = Attempts(lambda: 0.0)
    for n in range(FREE + 1):
        attempts.failed(f"2001:db8:0:1::{n:x}")
    assert attempts.wait("2001:db8:0:1::ffff") > 0 and attempts.wait("2001:db8:0:2::1") == 0
    for n in range(20_000):
        attempts.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(attempts._forgotten_at) <= 10_000

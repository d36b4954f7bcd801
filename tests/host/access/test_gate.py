"""`/v1` over TCP: who is let through to what."""

import asyncio
import json
import re
import resource
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.types import Message

from sdterm.core.settings.logins import logins
from sdterm.core.settings.tokens import SCOPES, Scope, new_token, revoke_token
from sdterm.events import Image
from sdterm.host.access.app import Gate
from sdterm.host.access.guests import Guest, KnownTokens
from sdterm.host.access.policy import access_of
from sdterm.host.access.scopes import NEEDED, needed
from sdterm.host.services import HostServices
from sdterm.host.v1.app import make_app
from tests.host.conftest import submission
from tests.host.sdapi.test_access import asking

NOW = 1000.0


class Guests:
    """Requests through the gate, without a port."""

    def __init__(self, services: HostServices) -> None:
        self.services = services
        self.tokens = {scope: new_token(services.run_folder.tokens, scope, scope, 0.0) for scope in SCOPES}
        access = access_of(services.settings, KnownTokens(services.run_folder.tokens, lambda: NOW))
        self.app = Gate(make_app(services, lambda: None), access)

    def ask(self, scope: Scope | None, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[scope]}"} if scope else {}

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
                return await client.request(method, path, headers=headers | how.pop("headers", {}), **how)

        return asyncio.run(once())


@pytest.fixture
def guests(services: HostServices) -> Guests:
    return Guests(services)


def concrete(path: str) -> str:
    """An address with something in place of each parameter."""
    return re.sub(r"\{(\w+)\}", lambda found: {"sha256": "0" * 64, "what": "pause"}.get(found[1], "1"), path)


CALLS = [(*call.split(), need) for call, need in NEEDED.items() if "/v1/" in call.split("/sdapi")[0]]


def test_every_call_has_a_scope_and_no_scope_is_for_nothing(guests: Guests) -> None:
    guests.services.settings = guests.services.settings.with_value("api_server_stop", True, "a test")
    document = guests.ask("read", "GET", "/v1/openapi.json").json()
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    theirs = asking(guests.services)("GET", "/openapi.json").json()
    calls |= {f"{method.upper()} {path}" for path, methods in theirs["paths"].items() for method in methods}
    assert {*NEEDED} == calls | {"GET /v1/openapi.json"}
    for call in calls:
        method, path = call.split()
        assert needed(method, path) == NEEDED[call] == needed(method, concrete(path)), call


def test_a_call_without_its_scope_does_nothing(guests: Guests) -> None:
    """And nothing of its body is read."""
    for method, path, need in CALLS:
        weaker: list[Scope | None] = [None, *(SCOPES if need == "owner" else SCOPES[: SCOPES.index(need)])]
        for scope in weaker:
            shown = [f"Bearer {guests.tokens[scope]}"] if scope else []
            status, told = unread(guests, method, concrete(path), *shown)
            assert status == (403 if scope else 401), (method, path, scope)
            assert told["code"] == ("forbidden" if scope else "unauthorized") and told["message"].endswith(".")


def unread(guests: Guests, method: str, path: str, *authorizations: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request whose body must not be read."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), *((b"authorization", each.encode()) for each in authorizations)]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    asyncio.run(guests.app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "bearer sdterm_" + "A" * 43, "Bearer " + "x" * 60_000],
)
def test_who_shows_no_token_is_told_how_to_get_one_and_nothing_else(guests: Guests, authorization: str) -> None:
    answer = guests.ask(None, "GET", "/v1/health", headers={"authorization": authorization})
    assert answer.status_code == 401 and answer.json().keys() - {"texts"} == {"code", "message", "field"}
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert str(guests.services.settings.root) not in answer.text


def test_a_token_counts_neither_twice_nor_in_the_address(guests: Guests) -> None:
    token = guests.tokens["admin"]
    assert guests.ask(None, "GET", f"/v1/health?token={token}").status_code == 401
    assert unread(guests, "GET", "/v1/health", f"Bearer {token}", f"Bearer {token}")[0] == 401


def test_a_token_holds_until_it_is_revoked_or_expires(guests: Guests) -> None:
    path = guests.services.run_folder.tokens
    guests.tokens["read"] = new_token(path, "short", "read", 0.0, NOW)
    assert guests.ask("read", "GET", "/v1/health").status_code == 401
    guests.tokens["read"] = new_token(path, "long", "read", 0.0, NOW + 1)
    assert guests.ask("read", "GET", "/v1/health").status_code == 200
    revoke_token(path, "long")
    assert guests.ask("read", "GET", "/v1/health").status_code == 401


def test_tokens_that_cannot_be_read_let_nobody_in(guests: Guests) -> None:
    assert guests.ask("read", "GET", "/v1/health").status_code == 200
    guests.services.run_folder.tokens.write_bytes(b"{")
    assert guests.ask("read", "GET", "/v1/health").status_code == 401
    guests.services.run_folder.tokens.unlink()
    assert guests.ask("admin", "GET", "/v1/health").status_code == 401


def test_tokens_that_cannot_be_read_for_a_moment_are_read_again(guests: Guests) -> None:
    known = KnownTokens(guests.services.run_folder.tokens, lambda: NOW)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, files[1]))
    try:
        refused = known.find(guests.tokens["read"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    assert refused is None and known.find(guests.tokens["read"])


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/jobs/", "/v1//jobs", "/v1/jobs/1/../../stop"])
def test_what_is_no_call_is_answered_as_that(guests: Guests, path: str) -> None:
    for method in ("GET", "POST", "PATCH", "OPTIONS"):
        assert guests.ask("admin", method, path).status_code in (403, 404)


def test_no_secret_is_told(guests: Guests) -> None:
    services = guests.services
    services.settings = services.settings.with_value("api_auth", logins("alice:secret"), "a test")
    for path in ("/v1/health", "/v1/settings"):
        assert "alice" not in guests.ask("admin", "GET", path).text
    assert "alice" in services.health().model_dump_json()


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saving", "field"),
    [
        ({"folder": "{root}"}, "saving.folder"),
        ({"folder": "{root}/outputs/../models"}, "saving.folder"),
        ({"folder": "{root}/outputs/link"}, "saving.folder"),
        ({"folder": "/"}, "saving.folder"),
        ({"folder": "{root}/outputs", "last_infotext": "{root}/config.toml"}, "saving.last_infotext"),
    ],
    ids=str,
)
def test_a_guest_saves_nothing_outside_the_outputs(guests: Guests, saving: dict[str, str], field: str) -> None:
    root = guests.services.settings.root
    (root / "outputs").mkdir()
    (root / "outputs" / "link").symlink_to(root)
    before = sorted(root.rglob("*"))
    saving = {key: value.format(root=root) for key, value in saving.items()}
    answer = guests.ask("admin", "POST", "/v1/jobs", json={"request": {"prompt": "a house"}, "saving": saving})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (403, "forbidden", field)
    assert [path for path in sorted(root.rglob("*")) if path not in before] == []


def kept(services: HostServices, path: Path) -> int:
    """A picture of the gallery, at that path."""
    job = services.jobs.submit(submission(paused=True), services.saving())
    image = Image(width=64, height=64, infotext="a", data=b"no picture", suffix=".png", index=0, seed=1)
    services.pictures.reserve(job, image, path)
    services.pictures.commit(job, image.model_copy(update={"path": str(path)}))
    return job


def test_a_guest_reads_no_file_outside_the_outputs(guests: Guests) -> None:
    root = guests.services.settings.root
    (root / "outputs").mkdir()
    (root / "secret.png").write_bytes(b"secret")
    (root / "outputs" / "mine.png").write_bytes(b"mine")
    (root / "outputs" / "link.png").symlink_to(root / "secret.png")
    inside = kept(guests.services, root / "outputs" / "mine.png")
    assert guests.ask("read", "GET", f"/v1/pictures/{inside}/file").content == b"mine"
    for path in ("secret.png", "outputs/link.png", "outputs/../secret.png"):
        picture = kept(guests.services, root / path)
        for method, call in (("GET", "/file"), ("GET", "/thumbnail"), ("DELETE", "")):
            answer = guests.ask("admin", method, f"/v1/pictures/{picture}{call}")
            assert answer.status_code == 403 and b"secret" not in answer.content
        assert (root / path).exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "%00"])
def test_no_address_leads_to_a_file(guests: Guests, name: str) -> None:
    for path in (f"/v1/inputs/{name}", f"/v1/pictures/{name}/file", f"/v1/library/{name}"):
        assert guests.ask("admin", "GET", path).status_code in (404, 422)
    answer = guests.ask("admin", "GET", "/v1/library/checkpoint/preview", params={"name": name})
    assert answer.status_code in (404, 422) and "root:" not in answer.text


# --- streams -------------------------------------------------------------------------------------------------------


def test_the_stream_of_a_revoked_token_ends(guests: Guests) -> None:
    """At the next sign of life, which is never more than two seconds away."""
    path = guests.services.run_folder.tokens
    pieces: list[bytes] = []

    async def follow() -> None:
        stream = guests.services.log.follow(None, None, False, keepalive=0.01)
        token = KnownTokens(path).find(guests.tokens["read"])
        assert token
        async for piece in Guest(token, KnownTokens(path)).while_valid(stream):
            pieces.append(piece)
            if len(pieces) == 3:
                revoke_token(path, "read")

    asyncio.run(asyncio.wait_for(follow(), 60))
    assert len(pieces) == 3 and guests.services.log.watching == 0

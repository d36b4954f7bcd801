"""Who may use A1111's API, and what its addresses answer before anything is drawn."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.logins import admits, logins
from sdterm.errors import SdtermError
from sdterm.host.sdapi.app import make_sdapi
from sdterm.host.services import HostServices

Ask = Callable[..., httpx.Response]


def asking(services: HostServices, stop: Callable[[], None] = lambda: None, **settings: object) -> Ask:
    """`ask(method, path, …)`: an answer of the application, without a port."""
    for key, value in settings.items():
        services.settings = services.settings.with_value(key, value, "a test")
    app = make_sdapi(services, stop)

    def ask(method: str, path: str, **how: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
                return await client.request(method, path, **how)

        return asyncio.run(once())

    return ask


LOGINS = logins("alice:secret, bob:pw2")
NOT = {"error": "HTTPException", "body": "", "errors": ""}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "Not authenticated"),
        ({"headers": {"Authorization": "Bearer x"}}, "Not authenticated"),
        ({"headers": {"Authorization": "Basic "}}, "Invalid authentication credentials"),
        ({"headers": {"Authorization": "Basic w6Q="}}, "Invalid authentication credentials"),
        ({"auth": ("eve", "secret")}, "Incorrect username or password"),
        ({"auth": ("alice", "pw2")}, "Incorrect username or password"),
    ],
    ids=str,
)
def test_without_its_login_nobody_is_answered(services: HostServices, how: dict[str, Any], said: str) -> None:
    ask = asking(services, api_auth=LOGINS)
    for method, path in (("GET", "/sdapi/v1/cmd-flags"), ("POST", "/sdapi/v1/txt2img"), ("GET", "/internal/ping")):
        answer = ask(method, path, **how)
        assert (answer.status_code, answer.json()) == (401, NOT | {"detail": said})
        assert "www-authenticate" not in answer.headers


def test_with_a_login_everything_is_as_without_logins(services: HostServices) -> None:
    ask = asking(services, api_auth=LOGINS)
    assert ask("GET", "/internal/ping", auth=("bob", "pw2")).json() == {}
    assert ask("GET", "/sdapi/v1/nope").status_code == 401
    assert ask("GET", "/sdapi/v1/nope", auth=("bob", "pw2")).status_code == 404
    assert (
        ask("HEAD", "/").status_code
        == ask("GET", "/docs").status_code
        == ask("GET", "/openapi.json").status_code
        == 200
    )


def test_no_password_is_kept_or_told(services: HostServices) -> None:
    assert "secret" not in str(LOGINS) and logins("alice:secret") == LOGINS[:1]
    assert admits(LOGINS, "alice", "secret") and not admits(LOGINS, "alice", "x" * 10**6)
    ask = asking(services, api_auth=LOGINS)
    for path in ("/sdapi/v1/cmd-flags", "/internal/sysinfo"):
        text = ask("GET", path, auth=("alice", "secret")).text
        assert "secret" not in text and "alice" not in text and str(services.settings.root) in text


@pytest.mark.parametrize("text", ["alice", "alice:", ":secret", "alice:secret,", ""])
def test_a_login_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    flag = next(flag for flag in FLAGS if flag.name == "--api-auth")
    assert flag.change
    with pytest.raises(SdtermError, match="NAME:PASSWORD"):
        flag.change(text)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "said"),
    [
        ("GET", "/", {}, 404, {"detail": "Not Found"}),
        ("GET", "/sdapi/v1/nope", {}, 404, {"detail": "Not Found"}),
        ("GET", "http://127.0.0.1:7860//sdapi/v1/samplers", {}, 404, {"detail": "Not Found"}),
        ("GET", "/SDAPI/V1/samplers", {}, 404, {"detail": "Not Found"}),
        ("POST", "/sdapi/v1/server-stop", {}, 404, {"detail": "Not Found"}),
        ("GET", "/sdapi/v1/txt2img", {}, 405, {"detail": "Method Not Allowed"}),
        ("POST", "/sdapi/v1/samplers", {}, 405, {"detail": "Method Not Allowed"}),
        ("DELETE", "/sdapi/v1/options", {}, 405, {"detail": "Method Not Allowed"}),
        ("GET", "/sdapi/v1/progress", {}, 200, None),
        ("GET", "/sdapi/v1/samplers/", {}, 307, None),
        ("HEAD", "/sdapi/v1/samplers", {}, 405, None),
        ("HEAD", "/", {}, 200, None),
        ("OPTIONS", "/sdapi/v1/txt2img", {"Origin": "http://a.b", "Access-Control-Request-Method": "POST"}, 400, None),
        ("GET", "/sdapi/v1/samplers", {"Origin": "http://example.org"}, 403, None),
        ("GET", "/sdapi/v1/samplers", {"Host": "example.org"}, 403, None),
    ],
)
def test_an_address_answers_as_a1111_without_its_page_does(
    services: HostServices, method: str, path: str, headers: dict[str, str], status: int, said: object
) -> None:
    answer = asking(services)(method, path, headers=headers)
    assert answer.status_code == status and float(answer.headers["x-process-time"]) >= 0
    if said:
        assert answer.json() == said


def test_clients_end_the_host_only_where_that_is_allowed(services: HostServices) -> None:
    stopped: list[bool] = []
    ask = asking(services, lambda: stopped.append(True), api_server_stop=True)
    assert ask("POST", "/sdapi/v1/server-restart").status_code == 501 and not stopped
    answer = ask("POST", "/sdapi/v1/server-stop")
    assert (answer.status_code, answer.text, stopped) == (200, "Stopping.", [True])


@pytest.mark.parametrize("path", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"])
def test_training_is_refused_where_its_result_would_be(services: HostServices, path: str) -> None:
    ask = asking(services)
    answer = ask("POST", f"/sdapi/v1/{path}", json={"name": "x"})
    assert answer.status_code == 200 and "error: sdterm does not train" in answer.json()["info"]
    assert ask("POST", f"/sdapi/v1/{path}", json=[1]).status_code == 422


def changed(name: str, value: str) -> dict[str, Any]:
    flag = next(flag for flag in FLAGS if flag.name == name)
    assert flag.change
    return dict(flag.change(value))


def test_logins_of_a1111s_page_are_those_of_the_api_and_may_come_from_a_file(tmp_path: Path) -> None:
    both = {"api_auth": logins("admin:admin,user1:pass:word")}
    assert changed("--gradio-auth", "admin:admin,user1:pass:word") == both
    file = tmp_path / "logins"
    file.write_text("admin:admin\n\nuser1:pass:word\n")
    assert changed("--gradio-auth-path", str(file)) == both
    assert admits(both["api_auth"], "user1", "pass:word")
    file.write_text("nobody")
    for path, said in ((file, "NAME:PASSWORD"), (tmp_path / "nowhere", "No such file")):
        with pytest.raises(SdtermError, match=said):
            changed("--gradio-auth-path", str(path))


def test_a_time_that_is_none_is_refused_in_a_sentence() -> None:
    assert changed("--timeout-keep-alive", "5") == {"timeout_keep_alive": 5.0}
    for value in ("-1", "soon", "9999999"):
        with pytest.raises(SdtermError, match="whole seconds"):
            changed("--timeout-keep-alive", value)

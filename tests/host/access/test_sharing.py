"""Sharing: a tunnel by a real sshd, and programs that only this test has: they stand for those that this machine
lacks."""

import asyncio
import http.server
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from textual.pilot import Pilot

from sdterm.api import Health
from sdterm.core.qr_code import qr_code
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.core.settings.tokens import TOKEN, new_token
from sdterm.host.access.origins import origins_of
from sdterm.host.access.sharing import News, ShareError, Tunnel, kept_up, pause_after, shared, tunnel_of
from sdterm.host.services import HostServices
from sdterm.tui.app import Workstation
from tests.host.conftest import settings_of
from tests.host.running import running, wait_until
from tests.host.sdapi.test_app import free_port
from tests.sshd import NAME, Machine, machine, needs_sshd
from tests.tui.conftest import drive, screen_text, until

Shares = Callable[[str, Callable[[HostServices], object]], Health]


@pytest.fixture
def gpu_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with machine(tmp_path / "a box") as it:
        monkeypatch.setenv("PATH", it.path)
        yield it


@pytest.fixture
def port() -> Iterator[int]:
    """Of something that answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def told(tunnel: Tunnel, port: int, folder: Path, number: int, act: dict[int, Callable[[str], object]]) -> list[News]:
    """The first so many things that a tunnel says; behind the n-th, what is to be done."""

    async def follow() -> list[News]:
        found: list[News] = []
        said = kept_up(tunnel, port, folder)
        async for news in said:
            found.append(news)
            if len(found) in act:
                await asyncio.to_thread(act[len(found)], news.address)
            if len(found) == number:
                break
        await said.aclose()
        return found

    return asyncio.run(follow())


@pytest.mark.heavy
@needs_sshd
def test_a_machine_of_the_users_own_leads_here_and_again_after_a_break(
    gpu_box: Machine, port: int, tmp_path: Path
) -> None:
    answers: list[bytes] = []

    def ask_and_cut(address: str) -> None:
        with urllib.request.urlopen(address) as answer:
            answers.append(answer.read())
        for connection in gpu_box.connections():
            os.kill(connection, signal.SIGKILL)

    first, broken, again = told(tunnel_of(NAME), port, tmp_path, 3, {1: ask_and_cut})
    assert first.address.startswith("http://127.0.0.1:"), "by the name that others know, not by an alias of here"
    assert broken.why.startswith("The ssh tunnel was closed (") and "debug" not in broken.why
    assert b"Directory listing" in answers[0]
    assert again == first, "at the same port"


@pytest.mark.few(1)
@needs_sshd
@pytest.mark.parametrize(
    ("machine", "why"),
    [(NAME, "Permission denied (publickey"), ("no-such-machine.invalid", "Could not resolve hostname no-such-machine")],
)
def test_why_a_machine_lets_nothing_through_is_told(
    gpu_box: Machine, port: int, tmp_path: Path, machine: str, why: str
) -> None:
    (tmp_path / "a box" / "user.pub").write_text("")
    (news,) = told(tunnel_of(machine), port, tmp_path, 1, {})
    assert not news.address and why in news.why
    assert news.why.startswith("The ssh tunnel cannot be opened: ")


def test_who_refuses_is_asked_less_and_less_often() -> None:
    assert [*map(pause_after, range(7))] == [2, 4, 8, 16, 32, 60, 60] and pause_after(10_000) == 60


def test_clients_are_told_why(shares: Shares) -> None:
    health = shares("echo 'no account here.' >&2", lambda services: services.health().notices)
    assert health.notices == (
        "The cloudflared tunnel cannot be opened: no account here. It is tried again, at least once a minute.",
    )


@pytest.mark.parametrize(
    ("program", "says", "address"),
    [
        (
            "cloudflared",
            "INF |  https://odd-words-here.trycloudflare.com  |",
            "https://odd-words-here.trycloudflare.com",
        ),
        (
            "ngrok",
            'lvl=info msg="started tunnel" addr=http://x url=https://a1.ngrok-free.app',
            "https://a1.ngrok-free.app",
        ),
        ("tailscale", "https://box.tail1234.ts.net/", "https://box.tail1234.ts.net"),
    ],
)
def test_the_first_program_that_is_installed_is_used_and_its_names_are_known(
    program: str, says: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / program).write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    first, broken = told(tunnel_of("auto"), 1, tmp_path, 2, {})
    assert first.address == address and not broken.address
    origins = origins_of(settings_of(tmp_path).with_value("share", program, "a test"), is_local=True)
    host = address.removeprefix("https://")
    assert origins.refusal(Headers({"host": host})) is None
    for other in ("example.org", host.rpartition(".")[2], f"{host}.example.org"):
        assert origins.refusal(Headers({"host": other})) is not None


def test_without_a_program_or_a_machine_a_sentence_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for asked, words in (
        ("auto", "There is no tunnel program here"),
        ("ngrok", "ngrok is not installed"),
        ("-oProxyCommand=touch x", "There is no tunnel program here"),
    ):
        with pytest.raises(ShareError, match=words):
            tunnel_of(asked)


def program(folder: Path, script: str) -> None:
    """A `cloudflared` of this test's."""
    folder.mkdir(exist_ok=True)
    (folder / "cloudflared").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "cloudflared").chmod(0o755)


OPENS = "echo 'INF |  https://odd-words-here.trycloudflare.com  |' >&2; exec sleep 600"


@pytest.fixture
def shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shares:
    """What a host's clients are told of sharing, until that is enough; then it ends."""
    folder = run_folder_of(tmp_path)
    make_private(folder)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    async def follow(script: str, enough: Callable[[HostServices], object]) -> Health:
        program(tmp_path / "bin", script)
        services = HostServices(settings_of(tmp_path, device="cpu"), folder)
        sharing = asyncio.create_task(shared(services, tunnel_of("cloudflared"), 1, lambda _: None))
        try:
            async with asyncio.timeout(60):
                while not enough(services):
                    await asyncio.sleep(0.01)
            return services.health()
        finally:
            sharing.cancel()
            await asyncio.gather(sharing, return_exceptions=True)
            services.database.close()

    return lambda script, enough: asyncio.run(follow(script, enough))


def test_clients_know_the_address_and_the_owner_the_token(shares: Shares) -> None:
    seen: list[Health] = []

    def enough(services: HostServices) -> bool:
        seen[:] = [services.health(secrets=False)]
        return bool(seen[0].notices)

    to_owner = shares(OPENS, enough)
    assert to_owner.notices == seen[0].notices == ("Shared at https://odd-words-here.trycloudflare.com",)
    assert to_owner.share_token and TOKEN.fullmatch(to_owner.share_token)
    assert to_owner.share_token not in seen[0].model_dump_json()


def test_a_token_that_has_expired_is_nobodys_so_that_there_is_one_to_get_in(shares: Shares, tmp_path: Path) -> None:
    new_token(run_folder_of(tmp_path).tokens, "laptop", "generate", 0.0, expires=1.0)
    assert shares(OPENS, lambda services: services.health().notices).share_token


def test_without_a_token_nothing_is_shared_and_that_is_told(shares: Shares, tmp_path: Path) -> None:
    run_folder_of(tmp_path).tokens.write_text("{")
    (told,) = shares(OPENS, lambda services: services.health().notices).notices
    assert told.startswith("Nothing is shared: ") and "is damaged" in told and "Delete it" in told


@pytest.mark.heavy
def test_the_workstation_and_host_status_tell_how_others_get_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host was started in the background, where nobody sees what it prints."""
    program(tmp_path / "bin", OPENS)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    settings = {"SDTERM_SERVE": "true", "SDTERM_SHARE": "cloudflared", "SDTERM_API": "true"}
    with running(tmp_path / "data", SDTERM_PORT=str(free_port()), **settings) as host:

        async def act(app: Workstation, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: "trycloudflare" in str(app._said) and "sdterm_" in str(app._said))
            await pilot.press("alt+q")
            address = "https://odd-words-here.trycloudflare.com"
            await until(pilot, lambda: f"Others reach sdterm at {address}" in screen_text(app))
            shown = screen_text(app)
            assert f": {host.client.health().share_token}" in shown and qr_code(address)[9].strip() in shown

        drive(host, act)
        health = host.client.health()
        token, url = str(health.share_token), f"http://127.0.0.1:{host.settings['port']}"
        said = subprocess.run(
            [sys.executable, "-m", "sdterm", "host", "status"],
            env={**os.environ, **host.environ, "SDTERM_DATA": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Shared at https://odd-words-here.trycloudflare.com" in said.stdout and token in said.stdout
        for path in ("/v1/health", "/internal/sysinfo"):
            asked = urllib.request.Request(url + path, headers={"authorization": f"Bearer {token}"})
            with urllib.request.urlopen(asked) as answer:
                content = answer.read().decode()
            assert "trycloudflare" in content and token not in content
        process = host.host
        process.kill()
        process.wait(30)
        host.again()
        wait_until(lambda: host.client.health().share_token)
        assert host.client.health().share_token != token
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(asked)

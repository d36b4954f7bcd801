"""Sharing: a tunnel by a real sshd, and programs that only this test has: they stand for those that this machine
lacks."""

import asyncio
import http.server
import os
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from sdterm.host.access.origins import origins_of
from sdterm.host.access.sharing import ShareError, Tunnel, kept_up, qr_code, tunnel_of
from tests.host.conftest import settings_of
from tests.sshd import NAME, Machine, machine, needs_sshd


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


def told(tunnel: Tunnel, port: int, folder: Path, number: int, act: dict[int, Callable[[str], object]]) -> list[str]:
    """The first so many things that a tunnel says; behind the n-th, what is to be done."""

    async def follow() -> list[str]:
        found: list[str] = []
        said = kept_up(tunnel, port, folder)
        async for address in said:
            found.append(address)
            if len(found) in act:
                await asyncio.to_thread(act[len(found)], address)
            if len(found) == number:
                break
        await said.aclose()
        return found

    return asyncio.run(follow())


@needs_sshd
def test_a_machine_of_the_users_own_leads_here_and_again_after_a_break(
    gpu_box: Machine, port: int, tmp_path: Path
) -> None:
    answers: list[bytes] = []

    def ask_and_cut(address: str) -> None:
        with urllib.request.urlopen(address.replace(NAME, "127.0.0.1")) as answer:
            answers.append(answer.read())
        for connection in gpu_box.connections():
            os.kill(connection, signal.SIGKILL)

    first, broken, again = told(tunnel_of(NAME), port, tmp_path, 3, {1: ask_and_cut})
    assert first.startswith(f"http://{NAME}:") and not broken
    assert b"Directory listing" in answers[0]
    assert again == first, "at the same port"


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
    assert told(tunnel_of("auto"), 1, tmp_path, 2, {}) == [address, ""]
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


def test_an_address_is_a_square_of_half_blocks() -> None:
    rows = qr_code("https://example.org")
    assert len({len(row) for row in rows}) == 1 and {*"".join(rows)} <= {*" ▀▄█"}
    assert abs(len(rows[0]) - 2 * len(rows)) <= 1

"""Strangers' servers: https alone, and a token goes nowhere else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.web import BrokenOffError, WebError, answer, check_url, shown


@given(st.sampled_from(["https", "http", "file", "ftp", "HTTPS"]), st.text(max_size=30))
def test_only_https_and_the_machine_itself_are_downloaded_from(scheme: str, rest: str) -> None:
    try:
        check_url(f"{scheme}://{rest}", before="https://example.org/a.zip")
    except WebError:
        return
    assert scheme.lower() == "https"


def test_what_follows_a_path_is_never_shown() -> None:
    assert shown("https://example.org/m.safetensors?token=secret#x") == "https://example.org/m.safetensors"
    with pytest.raises(WebError) as raised:
        check_url("http://example.org/m?token=secret")
    assert "secret" not in str(raised.value)


class Leads(BaseHTTPRequestHandler):
    """`/to/X` leads to X; anything else is answered with the token that came with it."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        said = str(self.headers.get("Authorization")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said) + (5 if self.path.startswith("/short") else 0)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[list[str]]:
    """Two of them, by their ports."""
    running = [ThreadingHTTPServer(("127.0.0.1", 0), Leads) for _ in range(2)]
    threads = [threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.05}) for each in running]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{each.server_port}" for each in running]
    for each, thread in zip(running, threads, strict=True):
        each.shutdown()
        thread.join()
        each.server_close()


def test_a_token_goes_to_its_own_server_alone(servers: list[str]) -> None:
    here, there = servers
    for path, sent in (("/x", b"Bearer secret"), ("/to//x", b"Bearer secret"), (f"/to/{there}/x", b"None")):
        with answer(here + path, token="secret") as response:
            assert response.read() == sent


def test_a_connection_that_breaks_is_told_from_a_refusal(servers: list[str]) -> None:
    with (
        pytest.raises(BrokenOffError, match="cannot be downloaded"),
        answer(f"{servers[0]}/short?x=secret") as response,
    ):
        response.read()
    with pytest.raises(WebError, match="https only"), answer(f"{servers[0]}/to/http://example.org/"):
        pass

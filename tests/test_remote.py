"""A host over TCP: the same client, a line that breaks, and what is refused before anything is sent."""

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdterm.api import HEARTBEAT, DownloadRequest
from sdterm.client import AnswerError, Client, HostError, RefusedError, reach
from sdterm.core.settings.tokens import revoke_token
from sdterm.events import PictureDeleted
from sdterm.remote import CONNECT_LIMIT, Remote, RemoteError, read_token
from tests.host.access.serving import Line, Served, served
from tests.host.conftest import submission
from tests.host.running import wait_until

TOKEN = "sdterm_" + "a" * 43


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as it:
        yield it


@pytest.fixture
def line(there: Served) -> Iterator[Line]:
    it = Line(there.port)
    yield it
    it.close()


def happens(there: Served, number: int) -> None:
    """An event of its own number, as its picture says."""
    there.do(lambda services: services.log.add(None, PictureDeleted(picture=number)))


def follow(client: Client, until: int, after: int | None = 0) -> tuple[threading.Thread, list[int], list[Exception]]:
    """A thread that follows the events up to that one; what it has seen, and what it died of."""
    seen: list[int] = []
    died: list[Exception] = []

    def run() -> None:
        try:
            for entry in client.events(after=after):
                assert isinstance(entry.event, PictureDeleted)
                seen.append(entry.event.picture)
                if seen[-1] == until:
                    return
        except Exception as error:
            died.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, seen, died


def test_a_client_over_tcp_has_the_methods_of_one_on_the_socket(there: Served) -> None:
    with reach(there.remote("generate")) as client:
        job = client.submit(submission(paused=True)).id
        assert client.job(job).state == "paused" and client.jobs().jobs[0].id == job
        assert client.cancel(job).state == "cancelled"
        with pytest.raises(RefusedError, match="the scope generate, and this needs admin") as refused:
            client.pause_queue()
        assert (refused.value.code, refused.value.status) == ("forbidden", 403)
        with pytest.raises(RefusedError, match="Only the host's own user"):
            client.stop()


def test_a_line_that_breaks_comes_back_and_no_event_is_missing_or_told_twice(there: Served, line: Line) -> None:
    with reach(Remote(line.url, there.token())) as client:
        thread, seen, died = follow(client, until=30)
        for number in range(1, 31):
            if number % 10 == 0:
                wait_until(lambda: len(seen) >= number - 5)  # noqa: B023
                line.cut()
            happens(there, number)
        thread.join(60)
    assert (seen, died) == ([*range(1, 31)], [])
    assert line.connections > 3


def test_from_now_on_means_from_the_first_connection_on(there: Served, line: Line) -> None:
    happens(there, 1)
    with reach(Remote(line.url, there.token())) as client:
        thread, seen, died = follow(client, until=3, after=None)
        wait_until(lambda: there.do(lambda services: services.log.watching))
        line.cut()
        happens(there, 2)
        happens(there, 3)
        thread.join(60)
    assert (seen, died) == ([2, 3], [])


def test_a_host_that_is_started_again_in_the_meantime_goes_on_telling(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        line = Line(first.port)
        client = reach(Remote(line.url, first.token()))
        thread, seen, died = follow(client, until=2)
        happens(first, 1)
        wait_until(lambda: seen)
    with served(tmp_path, first.port) as second:
        happens(second, 2)
        thread.join(60)
    client.close()
    line.close()
    assert (seen, died) == ([1, 2], [])


def test_a_host_that_is_away_for_a_while_is_told_and_that_it_is_back(tmp_path: Path) -> None:
    said: list[str] = []
    with served(tmp_path) as first:
        client = reach(Remote(first.url, first.token()))
        events = client.events(after=0, away=lambda error: said.append(str(error) if error else "back"))
        happens(first, 1)
        assert next(events).number == 1
    thread = threading.Thread(target=lambda: next(events))
    thread.start()
    wait_until(lambda: said)
    with served(tmp_path, first.port) as second:
        wait_until(lambda: said[-1] == "back")
        happens(second, 2)
        thread.join(60)
    client.close()
    assert "cannot be reached" in said[0] and said.count("back") == 1


@pytest.mark.heavy
def test_a_line_that_goes_silent_is_noticed(there: Served, line: Line) -> None:
    with reach(Remote(line.url, there.token())) as client:
        thread, seen, died = follow(client, until=2)
        happens(there, 1)
        wait_until(lambda: seen)
        before = line.connections
        line.silence()
        happens(there, 2)
        wait_until(lambda: line.connections > before)
        assert seen == [1]
        line.end_silence()
        began = time.monotonic()
        thread.join(60)
    assert (seen, died) == ([1, 2], []) and time.monotonic() - began < 10


def test_what_a_silent_line_costs_is_decided_by_three_numbers() -> None:
    """A line is back within three seconds of the network: one try under way, and the next."""
    assert CONNECT_LIMIT + 0.25 <= 3.0 and HEARTBEAT <= 2.0


def test_a_host_that_is_gone_is_an_error_in_the_end(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdterm.client._BACK_WITHIN", 0.5)
    line = Line(there.port)
    with reach(Remote(line.url, there.token())) as client:
        thread, seen, died = follow(client, until=2)
        happens(there, 1)
        wait_until(lambda: seen)
        line.close()
        thread.join(60)
    assert isinstance(died[0], HostError) and "cannot be reached" in str(died[0])


def test_a_token_that_is_revoked_in_mid_stream_ends_it(there: Served) -> None:
    client = reach(there.remote())
    thread, seen, died = follow(client, until=3)
    happens(there, 1)
    wait_until(lambda: seen)
    revoke_token(there.run_folder.tokens, "read")
    happens(there, 2)
    thread.join(60)
    assert seen == [1]
    assert isinstance(died[0], RefusedError) and died[0].status == 401 and "was revoked" in str(died[0])
    client.close()


def test_a_wrong_token_is_refused_at_once(there: Served) -> None:
    with pytest.raises(RefusedError, match="not one of this host's") as refused:
        reach(Remote(there.url, TOKEN))
    assert refused.value.status == 401


def test_a_host_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(
        HostError, match=r"http://127\.0\.0\.1:9 cannot be reached \(.*\)\. Check that the host is running"
    ):
        reach(Remote("http://127.0.0.1:9", TOKEN))


PAGE = b"<!doctype html><title>Welcome</title>"


@contextmanager
def answering(
    *, status: int = 200, body: bytes = PAGE, of_events: bytes = PAGE, echo: bool = False, **headers: str
) -> Iterator[Remote]:
    """A web server that is no sdterm. of_events: what it answers where those would be. echo: it refuses what is posted
    with what that was."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = of_events if self.path.partition("?")[0].endswith("/events") else body
            self.send_response(status)
            for name, value in ({"content_type": "text/html"} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(said)

        def do_POST(self) -> None:
            told = self.rfile.read(int(self.headers["content-length"])).decode()
            self.send_response(403)
            self.end_headers()
            self.wfile.write(json.dumps({"code": "forbidden", "message": told if echo else ""}).encode())

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Remote(f"http://127.0.0.1:{server.server_port}", TOKEN)
        server.shutdown()
        thread.join(60)


@pytest.mark.parametrize("body", [PAGE, b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_answers_and_is_no_sdterm_is_named(body: bytes) -> None:
    with answering(body=body) as other, Client(other) as client:
        for ask in (client.health, client.models, client.settings):
            if (ask, body) != (client.models, b"[]") and (ask, body) != (client.settings, b"[]"):
                with pytest.raises(AnswerError, match=r"What answers at http://127\.0\.0\.1:\d+ is not sdterm"):
                    ask()
    with answering(status=404) as other, Client(other) as client, pytest.raises(RefusedError, match="answers 404, not"):
        client.health()


def test_tokens_of_this_machine_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with answering(echo=True) as other, Client(other) as client, pytest.raises(RefusedError) as refused:
        client.look_at_download(DownloadRequest(source="hf:a/b"))
    assert "hf:a/b" in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"1", b"x", b'{"number": 1, "data": 1}', b"[" * 100_000])
def test_events_that_are_none_are_no_defect_and_end_in_the_end(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdterm.client._BACK_WITHIN", 0.0)
    told = b"data: " + data + b"\n\n"
    with answering(of_events=told, content_type="text/event-stream") as other, Client(other) as client:
        events = client.events(after=0)
        with pytest.raises(AnswerError, match="is not sdterm"):
            next(events)


def test_a_page_where_events_would_be_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as other, Client(other) as client, pytest.raises(AnswerError, match="is not sdterm"):
        next(client.events(after=0))
    monkeypatch.setattr("sdterm.client._BACK_WITHIN", 0.5)
    with answering(of_events=b"", content_type="text/event-stream") as other, Client(other) as client:
        events = client.events(after=0)
        with pytest.raises(HostError, match="The host ended"):
            next(events)


def test_an_answer_has_a_limit_and_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdterm.client._MOST", 100_000)
    with (
        answering(body=bytes(200_000)) as other,
        Client(other) as client,
        pytest.raises(AnswerError, match=r"100\.0 kB"),
    ):
        client.file(1)
    packed = gzip.compress(bytes(10_000_000))
    with answering(body=packed, of_events=packed, content_encoding="gzip") as other, Client(other) as client:
        with pytest.raises(AnswerError, match="is not sdterm"):
            client.file(1)
        with pytest.raises(AnswerError, match="is not sdterm"):
            next(client.events(after=0))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not the address of a host"),
        ("gpu.example.org", "not the address of a host"),
        ("ftp://gpu.example.org", "not the address of a host"),
        ("https://", "not the address of a host"),
        ("https://gpu:70000", "not the address of a host"),
        ("https://[::1", "not the address of a host"),
        ("https://a:b@gpu", "cannot contain a user, password"),
        ("https://gpu/?token=x", "cannot contain a user, password"),
        ("http://gpu.example.org", "Without TLS, others on the network"),
        ("http://192.0.2.7:7860", "Without TLS, others on the network"),
        ("http://localhost.example.org", "Without TLS, others on the network"),
        ("https://\x1b[31m", "not the address of a host|cannot"),
    ],
)
def test_an_address_that_is_none_or_would_betray_the_token_is_refused(url: str, said: str) -> None:
    with pytest.raises(RemoteError, match=said) as refused:
        Remote(url, TOKEN)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.2", "http://[::1]:7860/sd", "https://gpu/sd"])
def test_this_machine_needs_no_tls_and_a_subpath_is_kept(url: str) -> None:
    assert Remote(url, TOKEN).url == url and TOKEN not in repr(Remote(url, TOKEN))


def test_a_token_file_is_private_and_has_a_token(tmp_path: Path) -> None:
    path = tmp_path / "laptop.token"
    with pytest.raises(RemoteError, match="cannot be read: No such file"):
        read_token(path)
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o640)
    with pytest.raises(RemoteError, match=r"Others can read .*chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    path.write_text("password")
    with pytest.raises(RemoteError, match="has no token"):
        read_token(path)
    with pytest.raises(RemoteError, match="Is a directory"):
        read_token(tmp_path)

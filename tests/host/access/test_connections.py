"""Clients that are slow on purpose, and very many of them."""

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from sdterm.client import HostError, reach
from sdterm.host.access import connections
from sdterm.host.access.bodies import BodiesInFlight
from sdterm.remote import Remote
from tests.host.access.serving import Served, served
from tests.host.running import wait_until


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With limits that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        for phase in connections._LIMITS:
            patch.setitem(connections._LIMITS, phase, 0.3)
        with served(tmp_path_factory.mktemp("slow") / "data") as it:
            yield it


def talk(there: Served) -> socket.socket:
    it = socket.create_connection(("127.0.0.1", there.port), timeout=60)
    return it


def is_ended(connection: socket.socket) -> bool:
    """Wait until the host ends it, reading what it says before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def healthy(there: Served) -> bool:
    return httpx.get(f"{there.url}/internal/ping", timeout=60).status_code == 200


BEGUN: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("half a line", b"GET /internal/ping HT"),
    ("half the headers", b"GET /internal/ping HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
    ("half a body", b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{"),
    ("half a chunk", b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\na"),
    (
        "half a body of a request that is refused",
        b"POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{",
    ),
    ("a request, and half of one", b"GET /internal/ping HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /inter"),
]


@pytest.mark.parametrize("begun", [begun for _, begun in BEGUN], ids=[name for name, _ in BEGUN])
def test_who_begins_and_does_not_go_on_is_dropped(
    there: Served, begun: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with talk(there) as connection:
        connection.sendall(begun)
        assert is_ended(connection)
    assert healthy(there)
    assert not [record for record in caplog.records if record.exc_info], "strangers write no tracebacks into the log"


def test_a_header_a_second_is_too_slow(there: Served) -> None:
    with talk(there) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /internal/ping HTTP/1.1\r\n")
        for n in range(10_000):
            connection.sendall(b"x-%d: y\r\n" % n)
            time.sleep(0.01)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(1):
                    return
            connection.setblocking(True)
        raise AssertionError("it was listened to for ever")


def test_a_body_that_grows_too_slowly_is_dropped_and_one_that_grows_is_not(
    there: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LEAST", 1000)
    head = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n"
    with talk(there) as quick:
        quick.sendall(head)
        for _ in range(10):
            quick.sendall(b" " * 10_000)
            time.sleep(0.1)
        assert quick.recv(12) == b"HTTP/1.1 422"
    with talk(there) as slow:
        slow.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(100_000):
                slow.sendall(b" ")
                time.sleep(0.02)
            raise AssertionError("it was listened to for ever")


def test_who_asks_and_does_not_read_the_answer_is_dropped(there: Served) -> None:
    ask = b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with talk(there) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1.0)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(ask)
        wait_until(lambda: not there.do(lambda _: there.listening.socket._busy))
    assert healthy(there)


def test_a_stream_that_is_read_stays(there: Served) -> None:
    with reach(there.remote()) as client:
        events = client.events(after=0)
        for number in range(3):
            time.sleep(0.4)
            there.do(lambda services: services.find_pictures())
            assert next(events).number > number


def test_idle_connections_make_room_for_who_asks(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(there.listening.socket, "most", 20)
    idle = [talk(there) for _ in range(60)]
    assert healthy(there) and healthy(there)
    for connection in idle:
        assert is_ended(connection)
        connection.close()


@pytest.mark.heavy
def test_four_thousand_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    with served(tmp_path) as there:
        idle = []
        for _ in range(4000):
            idle.append(talk(there))
        began = time.monotonic()
        assert healthy(there)
        assert time.monotonic() - began < 5
        with reach(there.remote()) as client:
            assert client.health().version
        for connection in idle:
            connection.close()


def test_where_all_are_being_answered_one_more_is_turned_away_and_comes_back(
    there: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: not there.do(lambda _: there.listening.socket._busy))
    monkeypatch.setattr(there.listening.socket, "most", 2)
    remote = there.remote("generate")
    with contextlib.ExitStack() as opened:
        headers = {"authorization": f"Bearer {remote.token}"}
        http = opened.enter_context(httpx.Client(base_url=f"{there.url}/v1", headers=headers))
        for _ in range(2):
            opened.enter_context(http.stream("GET", "/events"))
        wait_until(lambda: len(there.listening.socket._busy) == 2)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{there.url}/internal/ping")
    wait_until(lambda: not there.do(lambda _: there.listening.socket._busy))
    assert healthy(there)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS where there is none
        b"\0" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/sdapi/v1/options HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999999\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\x00b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_no_request_is_turned_away(there: Served, sent: bytes) -> None:
    with talk(there) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            said = connection.recv(65536)
            assert not said or said[:10] == b"HTTP/1.1 4", said[:100]
    assert healthy(there)


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_bodies_of_all_clients_together_have_a_limit(there: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one client brings counts until it is answered; then there is room again."""
    found: list[BodiesInFlight] = []
    before = BodiesInFlight.__init__

    def noted(self: BodiesInFlight, app: object, most: int = 100_000) -> None:
        before(self, app, most)  # type: ignore[arg-type]
        found.append(self)

    monkeypatch.setattr(BodiesInFlight, "__init__", noted)
    monkeypatch.setitem(connections._LIMITS, "body", connections.STEP)
    with served(there.root.parent / "small") as small:
        head = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 90000\r\n\r\n"
        with talk(small) as holds:
            holds.sendall(head + b" " * 80_000)
            wait_until(lambda: found[-1].bytes == 80_000)
            answer = httpx.post(f"{small.url}/sdapi/v1/png-info", content=b" " * 30_000)
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
            holds.sendall(b" " * 10_000)
            assert holds.recv(12) == b"HTTP/1.1 422"
        wait_until(lambda: found[-1].bytes == 0)
        assert httpx.post(f"{small.url}/sdapi/v1/png-info", content=b" " * 30_000).status_code != 503


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`here.crt` and `.key` for 127.0.0.1; `other.crt` and `.key` for another name."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, alternative in (("here", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}"]
        try:
            subprocess.run(
                [*command, "-addext", f"subjectAltName={alternative}"], cwd=folder, check=True, capture_output=True
            )
        except FileNotFoundError:
            pytest.skip("there is no openssl")
    return folder


@pytest.fixture
def secure(certificates: Path, tmp_path: Path) -> Iterator[Callable[[str], contextlib.AbstractContextManager[Served]]]:
    def serve(name: str) -> contextlib.AbstractContextManager[Served]:
        certificate, key = str(certificates / f"{name}.crt"), str(certificates / f"{name}.key")
        return served(tmp_path, tls_certfile=certificate, tls_keyfile=key)

    yield serve


def test_a_certificate_of_ones_own_is_trusted_where_it_is_given_and_nowhere_else(
    secure: Callable[[str], contextlib.AbstractContextManager[Served]], certificates: Path
) -> None:
    with secure("here") as there:
        assert there.url.startswith("https://")
        token = there.token()
        with reach(Remote(there.url, token, certificates / "here.crt")) as client:
            assert client.health().version
            there.do(lambda services: services.find_pictures())
            assert next(client.events(after=0)).number == 1
        for ca in (None, certificates / "other.crt"):
            with pytest.raises(HostError, match=r"The certificate of .* is not trusted: .*--tls-ca FILE"):
                reach(Remote(there.url, token, ca))
        with pytest.raises(HostError, match=r"speaks TLS: connect to it by https://"):
            reach(Remote(there.url.replace("https:", "http:"), token))
        plain = socket.create_connection(("127.0.0.1", there.port), timeout=60)
        with plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"200" not in plain.recv(100)
        assert ssl.get_server_certificate(("127.0.0.1", there.port))


def test_a_certificate_for_another_name_is_not_trusted(
    secure: Callable[[str], contextlib.AbstractContextManager[Served]], certificates: Path
) -> None:
    with secure("other") as there, pytest.raises(HostError, match=r"is not trusted: IP address mismatch"):
        reach(Remote(there.url, there.token(), certificates / "other.crt"))


def test_a_key_that_is_another_certificates_is_refused_before_anything_listens(
    certificates: Path, tmp_path: Path
) -> None:
    from sdterm.core.settings.rundir import make_private, run_folder_of
    from sdterm.host.access.listening import ListenError, listen
    from tests.host.conftest import settings_of

    make_private(run_folder_of(tmp_path))
    settings = settings_of(
        tmp_path, tls_certfile=str(certificates / "here.crt"), tls_keyfile=str(certificates / "other.key")
    )
    with pytest.raises(ListenError, match="are not a certificate with its key"):
        listen(settings, run_folder_of(tmp_path))

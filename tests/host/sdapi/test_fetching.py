"""Pictures by URL: fetched where a setting says so, and never from this machine or its network."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import httpx2 as httpx
import pytest
from PIL import Image

from sdterm.host.sdapi.fetching import LIMIT, MOST_URLS, Address, Fetcher, FetchError, addresses, is_public
from tests.host.running import running
from tests.host.sdapi.test_app import free_port


def png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


class Site(ThreadingHTTPServer):
    """A web site on an address of this machine. asked: the path and Host of every request."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Pages)
        self.asked: list[tuple[str, str]] = []
        self.leads_to = ""
        self.ended = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Pages(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["host"]))
        with contextlib.suppress(OSError):  # who asks hangs up before the end
            self._page()

    def _page(self) -> None:
        match self.path:
            case "/picture.png":
                self._answer(200, png())
            case "/away":
                self._answer(302, b"", location=self.server.leads_to)
            case "/endless":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x" * 2**20)
            case "/large":
                self._answer(200, bytes(40 * 2**20))
            case "/slow":
                self._drip()
            case _:
                self._answer(404, b"nothing")

    def _drip(self) -> None:
        """A header every tenth of a second, for ten seconds."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100):
            self.wfile.write(b"X-%d: x\r\n" % number)
            self.server.ended.wait(0.1)
        self.wfile.write(b"\r\n" + png())

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    yield from _served(Site())


@pytest.fixture
def other_site() -> Iterator[Site]:
    """On another address of this machine."""
    yield from _served(Site("127.0.0.2"))


def _served(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    site.ended.set()
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


FIRST = IPv4Address("127.0.0.1")
"""What stands for a public address in these tests."""


def fetcher(*found: str, limit: float = LIMIT) -> Fetcher:
    """One for which 127.0.0.1 is the Internet. found: what looking a host up finds, one time after the other."""
    answers = iter(found)

    def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address(next(answers))] if found else addresses(host, port)

    return Fetcher(resolve=resolve, is_open=lambda address: address == FIRST, limit=limit)


def test_a_picture_comes_from_the_address_that_was_checked_under_the_name_that_was_asked_for(site: Site) -> None:
    assert fetcher("127.0.0.1")(f"http://pictures.example:{site.port}/picture.png") == png()
    assert site.asked == [("/picture.png", f"pictures.example:{site.port}")]


def test_what_a_name_means_a_moment_later_does_not_matter(site: Site, other_site: Site) -> None:
    """DNS rebinding: the first look-up finds a public address, the next one finds this machine."""
    site.leads_to = f"http://pictures.example:{other_site.port}/picture.png"
    with pytest.raises(FetchError, match="local resource"):
        fetcher("127.0.0.1", "127.0.0.2")(f"http://pictures.example:{site.port}/away")
    assert site.asked and not other_site.asked


def test_a_redirect_is_checked_like_any_url(site: Site, other_site: Site) -> None:
    site.leads_to = f"http://127.0.0.2:{other_site.port}/picture.png"
    with pytest.raises(FetchError, match="local resource"):
        fetcher()(f"http://127.0.0.1:{site.port}/away")
    site.leads_to = "/picture.png"
    assert fetcher()(f"http://127.0.0.1:{site.port}/away") == png()
    site.leads_to = "/away"
    with pytest.raises(FetchError, match="leads on and on"):
        fetcher()(f"http://127.0.0.1:{site.port}/away")
    site.leads_to = "file:/etc/passwd"
    with pytest.raises(FetchError, match="neither"):
        fetcher()(f"http://127.0.0.1:{site.port}/away")
    assert not other_site.asked


def test_one_local_address_among_several_is_enough_to_refuse() -> None:
    mixed = [ip_address("127.0.0.1"), ip_address("10.0.0.1")]
    with pytest.raises(FetchError, match="local resource"):
        Fetcher(resolve=lambda host, port: mixed, is_open=lambda address: address == FIRST)("http://pictures.example/")


@pytest.mark.heavy
def test_what_is_too_large_or_not_there_is_refused(site: Site) -> None:
    base = f"http://127.0.0.1:{site.port}"
    with pytest.raises(FetchError, match="more than 67108864 bytes"):
        fetcher()(f"{base}/endless")
    with pytest.raises(FetchError, match="HTTPStatusError"):
        fetcher()(f"{base}/nothing")
    for url in ("http://", "https:///x", f"http://127.0.0.1:{2**20}/", "http://\x00/", "http://" + "x" * 300 + "/"):
        with pytest.raises(FetchError):
            fetcher()(url)
    one = fetcher()
    for _ in range(MOST_URLS):
        one(f"{base}/picture.png")
    with pytest.raises(FetchError, match=f"More than {MOST_URLS}"):
        one(f"{base}/picture.png")


def test_the_pictures_of_a_request_have_one_limit_together(site: Site) -> None:
    one = fetcher()
    assert len(one(f"http://127.0.0.1:{site.port}/large")) == 40 * 2**20
    with pytest.raises(FetchError, match="more than 67108864 bytes"):
        one(f"http://127.0.0.1:{site.port}/large")


def test_a_site_that_never_ends_its_headers_is_given_up(site: Site) -> None:
    with pytest.raises(FetchError, match="takes more than 1 s"):
        fetcher(limit=1)(f"http://127.0.0.1:{site.port}/slow")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
        ),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1"),
        *("64:ff9b:1::7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1"),
    ],
)
def test_these_are_no_addresses_of_the_internet(address: str) -> None:
    assert not is_public(ip_address(address))


def test_these_are() -> None:
    assert is_public(ip_address("93.184.216.34")) and is_public(ip_address("2606:2800:220:1:248:1893:25c8:1946"))


LOCAL = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1", "0.0.0.0")


def test_the_api_fetches_nothing_unless_a_setting_says_so_and_never_from_this_machine(
    site: Site, tmp_path: Path
) -> None:
    """In every field that takes a picture, however the machine is written."""

    def refusals(api: httpx.Client, url: str) -> set[str]:
        extras = {"imageList": [{"data": url, "name": "x"}], "upscaler_1": "Nearest"}
        asked = {
            "img2img": {"init_images": [url], "steps": 1},
            "txt2img": {"firstpass_image": url, "enable_hr": True, "steps": 1},
            "extra-single-image": {"image": url, "upscaler_1": "Nearest"},
            "extra-batch-images": extras,
            "interrogate": {"image": url},
        }
        answers = [api.post(f"/sdapi/v1/{route}", json=body) for route, body in asked.items()]
        assert {answer.status_code for answer in answers} == {500}
        return {answer.json()["detail"] for answer in answers}

    for setting in ("false", "true"):
        port = free_port()
        with (
            running(tmp_path / setting, SDTERM_API="true", SDTERM_PORT=str(port), SDTERM_API_FETCH=setting) as host,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api,
        ):
            host.client.pause_queue()
            assert api.get("/sdapi/v1/options").json()["api_enable_requests"] == (setting == "true")
            assert api.post("/sdapi/v1/options", json={"api_enable_requests": True}).json() is None
            if setting == "false":
                (said,) = refusals(api, f"http://127.0.0.1:{site.port}/picture.png")
                assert said.startswith("Requests not allowed") and "api_fetch" in said
                continue
            for name in LOCAL:
                assert refusals(api, f"http://{name}:{site.port}/picture.png") == {
                    "Request to local resource not allowed"
                }
    assert not site.asked

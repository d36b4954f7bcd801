"""What the host's port shows to a browser, and to whom: asked without one."""

import asyncio
import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from socket import create_connection
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from sdterm.core.settings.logins import logins
from sdterm.core.settings.settings import resolve
from sdterm.core.settings.tokens import revoke_token
from sdterm.host.pages import pages, workstation
from tests.host.access.serving import Served, served
from tests.host.running import is_there, wait_until

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")

SHOWN = ("/", "/gallery/", "/gallery/gallery.js", "/gallery/list", "/page/workstation.js", "/page/pages.css")
LOGIN = ("ann", "a good long password")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    with served(root, pages=True, api_auth=logins(":".join(LOGIN)), subpath="/sd", api_log=True) as it:
        yield it


@pytest.fixture
def base(there: Served) -> str:
    return f"http://127.0.0.1:{there.port}"


@asynccontextmanager
async def socket(url: str, login: tuple[str, str], **headers: str) -> AsyncIterator[Any]:
    """The socket of a page whose user has typed that."""
    shown = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    async with (
        aiohttp.ClientSession(headers={"authorization": shown, **headers}) as session,
        session.ws_connect(f"{url}/page/socket?width=80&height=24", ssl=False) as it,
    ):
        yield it


def refused(url: str, login: tuple[str, str], **headers: str) -> int:
    """The status of the handshake, or the code with which the socket is closed."""

    async def ask() -> int:
        try:
            async with socket(url, login, **headers) as page:
                await page.receive(timeout=60)
                return int(page.close_code)
        except aiohttp.WSServerHandshakeError as error:
            return int(error.status)

    return asyncio.run(ask())


def test_pages_are_for_whoever_shows_a_login_or_a_token(there: Served, base: str) -> None:
    token = ("whoever", there.token("generate"))
    for path in SHOWN:
        nobody = httpx.get(base + path)
        assert nobody.status_code == 401 and nobody.headers["www-authenticate"].startswith("Basic ")
        for right in (LOGIN, token):
            answer = httpx.get(base + path, auth=right)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers and answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    for wrong in (("ann", "a wrong password"), ("", f"sdterm_{'x' * 43}")):
        assert httpx.get(f"{base}/", auth=wrong).status_code == 401
    assert (httpx.head(base).status_code, httpx.head(base, auth=LOGIN).status_code) == (401, 200)


def test_without_credentials_pages_are_shown_where_the_api_is_open_too(tmp_path: Path) -> None:
    for api, status in ((True, 200), (False, 401)):
        with served(tmp_path / str(api), pages=True, api=api) as it:
            answer = httpx.get(it.url)
            assert answer.status_code == status
            assert api or answer.headers["www-authenticate"].startswith("Basic")
            shown = httpx.get(f"{it.url}/gallery/list", auth=("any", it.token("read")))
            assert shown.status_code == 200


def test_a_page_runs_only_scripts_of_its_own(base: str) -> None:
    for path in ("/", "/gallery/"):
        answer = httpx.get(base + path, auth=LOGIN)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "<script>" not in answer.text and " onclick" not in answer.text
    assert httpx.get(f"{base}/page/terminal/js/textual.js", auth=LOGIN).status_code == 200
    assert httpx.get(f"{base}/page/terminal/../../pages.py", auth=LOGIN).status_code == 404


def test_pages_lie_below_a_subpath_too(base: str) -> None:
    bare = httpx.get(f"{base}/sd", auth=LOGIN)
    assert bare.status_code == 307 and bare.headers["location"] == "/sd/"
    assert httpx.get(f"{base}/sd/", auth=LOGIN).text == httpx.get(f"{base}/", auth=LOGIN).text
    assert httpx.get(f"{base}/sd/gallery/list", auth=LOGIN).json()["pictures"] == []


def test_a_token_that_may_only_read_has_the_gallery_and_no_workstation(there: Served, base: str) -> None:
    reader = ("", there.token("read", "reader"))
    assert httpx.get(f"{base}/gallery/list", auth=reader).status_code == 200
    front = httpx.get(f"{base}/sd/", auth=reader)
    assert (front.status_code, front.headers["location"]) == (307, "gallery/")
    assert refused(base, reader) in (403, 1008)


def test_a_socket_is_for_our_own_page_and_its_user(base: str) -> None:
    assert refused(base, LOGIN, origin="https://evil.example") in (403, 1008)
    assert refused(base, ("ann", "a wrong password")) in (403, 1008)


def test_a_workstation_ends_with_its_token_and_there_are_not_too_many(
    there: Served, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST", 1)
    guest = ("", there.token("generate", "guest"))

    async def act() -> None:
        async with socket(f"{base}/sd", guest, origin=base) as page:
            shown = b""
            while b"Prompt" not in shown:
                shown += (await page.receive_bytes(timeout=120))[-(2**16) :]
            assert await asyncio.to_thread(refused, base, guest) in (403, 1008), "there is one"
            full = await asyncio.to_thread(httpx.get, f"{base}/sd/", auth=guest)
            assert full.status_code == 503 and "Too many browsers" in full.text
            revoke_token(there.run_folder.tokens, "guest")
            while not page.closed:
                await page.receive(timeout=60)

    asyncio.run(act())
    assert not [*there.run_folder.folder.glob("page-*")], "nothing is left of its token"


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """The settings of a host that is reached by TLS, with a certificate for another name."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    certificate, key = str(tmp_path / "host.crt"), str(tmp_path / "host.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gpu.example.org", "-days", "2"),
            *("-addext", "subjectAltName=DNS:gpu.example.org", "-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )
    return {"tls_certfile": certificate, "tls_keyfile": key}


@pytest.mark.heavy
def test_a_workstation_in_a_page_reaches_its_host_over_tls_whatever_the_certificates_name(
    tmp_path: Path, tls: dict[str, Any]
) -> None:
    with served(tmp_path, pages=True, **tls) as it:

        async def act() -> None:
            async with socket(it.url, ("", it.token("generate")), origin=it.url) as page:
                shown = b""
                while b"sdterm-demo" not in shown:  # the model, of which the host tells
                    shown = (shown + await page.receive_bytes(timeout=120))[-(2**16) :]

        asyncio.run(act())


def workstations(there: Served) -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if there.url in each.cmdline()]


def test_a_host_ends_with_the_workstation_of_a_page_that_is_just_closed(tmp_path: Path, tls: dict[str, Any]) -> None:
    wsproto, events = pytest.importorskip("wsproto"), pytest.importorskip("wsproto.events")
    page = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with ExitStack() as after, served(tmp_path, pages=True, **tls) as it:
        context = ssl.create_default_context(cafile=tls["tls_certfile"])
        line = after.enter_context(create_connection(("127.0.0.1", it.port), timeout=60))
        line = after.enter_context(context.wrap_socket(line, server_hostname="gpu.example.org"))

        def wait_for(wanted: type) -> None:
            while not any([isinstance(event, wanted) for event in page.events()]):
                page.receive_data(line.recv(2**16) or pytest.fail("the host has hung up"))

        basic = b"Basic " + base64.b64encode(f":{it.token('generate')}".encode())
        headers = [(b"authorization", basic), (b"origin", it.url.encode())]
        line.sendall(page.send(events.Request(f"127.0.0.1:{it.port}", "/page/socket", extra_headers=headers)))
        wait_for(events.AcceptConnection)
        wait_until(lambda: workstations(it))
        (drawn,) = workstations(it)
        drawn.suspend()  # it does not end by itself
        line.sendall(page.send(events.CloseConnection(1000)))
        wait_for(events.CloseConnection)
    assert not is_there(drawn)


@pytest.mark.parametrize(
    "locked", [{"freeze_settings": "true"}, {"freeze_specific_settings": "theme,language"}, {"theme": "nord"}]
)
def test_a_workstation_in_a_page_has_the_looks_and_the_locks_of_its_owner(
    tmp_path: Path, locked: dict[str, str]
) -> None:
    given = {f"SDTERM_{key.upper()}": value for key, value in {"outdir": "/srv", "port": "7999", **locked}.items()}
    settings = resolve({}, {"SDTERM_DATA": str(tmp_path), **given})
    environ = workstation._environment(settings, "ann", 80, 24)
    assert {key: environ[f"SDTERM_{key.upper()}"] for key in locked} == locked
    assert "SDTERM_OUTDIR" not in environ and "SDTERM_PORT" not in environ and environ["SDTERM_IN_PAGE"] == "true"


def test_a_page_is_said_in_the_language_that_the_browser_asks_for(base: str) -> None:
    for asked, tag, words in (
        ("ja,en-US;q=0.7,en;q=0.3", "ja", "ギャラリー"),
        ("fr;q=0.9, zh-Hans-CN;q=0.8", "zh-CN", "图库"),
        ("de;q=0, xx, en-GB", "en", "Gallery"),
        ("*;q=nonsense,,;", "en", "Gallery"),
    ):
        page = httpx.get(f"{base}/gallery/", auth=LOGIN, headers={"accept-language": asked}).text
        assert f'<html lang="{tag}">' in page and f"<h1>{words}</h1>" in page and "[[" not in page, asked
    front = httpx.get(f"{base}/", auth=LOGIN, headers={"accept-language": "de-AT"}).text
    assert "Galerie" in front and "Opening" not in front and "[[" not in front


def test_what_a_browser_is_refused_with_is_said_in_its_language_too(base: str) -> None:
    german = {"accept-language": "de"}
    nobody = httpx.get(f"{base}/", headers=german)
    assert (nobody.status_code, nobody.text) == (401, "Nicht angemeldet.")
    assert nobody.headers["content-language"] == "de" and "utf-8" in nobody.headers["content-type"]
    assert httpx.get(f"{base}/", headers={"accept-language": "tlh"}).text == "Not authenticated."
    nowhere = httpx.get(f"{base}/gallery/nothing", auth=LOGIN, headers=german)
    assert (nowhere.status_code, nowhere.headers["content-language"]) == (404, "de")
    wrong = {"params": {"q": "steps>=x"}, "auth": LOGIN}
    plain, said = (httpx.get(f"{base}/gallery/list", headers=each, **wrong).json() for each in ({}, german))  # type: ignore[arg-type]
    assert said["code"] == plain["code"] and said["message"] != plain["message"] and "steps" in said["message"]


def test_a_browser_that_asks_for_no_known_language_gets_the_one_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "localizations").mkdir()
    (tmp_path / "localizations" / "xx.json").write_text('{"Gallery": "<b>Xallery</b>"}')
    with served(tmp_path, pages=True, api=True, language="xx") as it:
        page = httpx.get(f"{it.url}/gallery/", headers={"accept-language": "tlh"}).text
        assert '<html lang="xx">' in page and "<h1>&lt;b&gt;Xallery&lt;/b&gt;</h1>" in page
        assert '<html lang="ja">' in httpx.get(f"{it.url}/gallery/", headers={"accept-language": "ja"}).text

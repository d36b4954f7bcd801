"""What answers say to browsers, and what lies behind a proxy's address."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from sdterm.host.access.headers import ALWAYS
from tests.host.access.serving import Served, served
from tests.host.running import wait_until

PAGE = "https://mine.example"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), cors_allow_origins=(PAGE,), subpath="/sd/", api_log=True) as it:
        yield it


@pytest.fixture
def base(there: Served) -> str:
    return f"http://127.0.0.1:{there.port}"


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v1/health", "/v1", "/docs", "/openapi.json", "/sdapi/v1/options", "/sdapi/v1/progress"]
)
def test_no_answer_can_be_framed_guessed_or_kept(base: str, path: str) -> None:
    for headers in ({}, {"origin": "https://evil.example"}, {"host": "evil.example"}):
        answer = httpx.get(base + path, headers=headers)
        assert ALWAYS.items() <= answer.headers.items()
        assert "set-cookie" not in answer.headers and "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_that_is_allowed_may_ask_and_read_and_another_may_not(base: str) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    answer = httpx.options(f"{base}/sdapi/v1/txt2img", headers={"origin": PAGE, **asks})
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == asks["access-control-request-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert (
        httpx.options(f"{base}/sdapi/v1/txt2img", headers={"origin": "https://evil.example", **asks}).status_code == 400
    )
    assert httpx.options(f"{base}/v1/jobs", headers={"origin": "https://evil.example", **asks}).status_code == 403
    read = httpx.get(f"{base}/sdapi/v1/samplers", headers={"origin": PAGE})
    assert read.status_code == 200 and read.headers["access-control-allow-origin"] == PAGE
    assert "origin" in read.headers["vary"].lower()


def test_an_address_is_found_with_its_subpath_and_without(there: Served, base: str) -> None:
    assert there.url == f"{base}/sd"
    for path in ("/sd/sdapi/v1/samplers", "/sdapi/v1/samplers"):
        assert httpx.get(base + path).status_code == 200
    assert httpx.get(f"{base}/sdx/sdapi/v1/samplers").status_code == 404
    assert httpx.get(f"{base}/sd/v1/health").status_code == 401
    assert httpx.get(f"{base}/sd/sd/v1/health").status_code == 404


def test_the_log_has_requests_and_neither_queries_nor_credentials(
    there: Served, base: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "sdterm.host.access.app"):
        httpx.get(f"{base}/v1/health?secret=1", headers={"authorization": "Bearer hidden"})
        wait_until(lambda: caplog.messages)  # the line follows the answer
    (line,) = caplog.messages
    assert line.startswith("127.0.0.1 GET /v1/health: 401, ") and "secret" not in line and "hidden" not in line


def test_without_the_api_only_v1_is_there(tmp_path: Path) -> None:
    with served(tmp_path, api=False) as it:
        for path in ("/", "/docs", "/openapi.json", "/sdapi/v1/options"):
            answer = httpx.get(it.url + path)
            assert answer.status_code == 404 and "--api" in answer.json()["message"]
        assert httpx.get(f"{it.url}/v1/health", headers={"authorization": f"Bearer {it.token()}"}).status_code == 200

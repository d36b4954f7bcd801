"""Everything that A1111 was asked over HTTP, asked again: the same statuses, and answers of the same shape."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from sdterm.core.settings.paths import EMBEDDED_MODEL
from tests.host.running import Running, running
from tests.host.sdapi.deviations import DEVIATIONS
from tests.host.sdapi.exchanges import EXCHANGES, asked, differences
from tests.host.sdapi.test_app import free_port

STYLES = """name,prompt,negative_prompt
night,"night, stars",sunset
framed,"lake, {prompt}, red house",
negative only,,"snow, {prompt}"
"""
DRAWS = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images")


def of(kind: str) -> list[Any]:
    """The exchanges whose names begin so, or all but those; what draws is heavy."""
    once = [each for each in EXCHANGES if "polls" not in each and "error" not in each]
    mine = [each for each in once if each["id"].startswith("auth/") is (kind == "auth")]
    return [pytest.param(each, id=each["id"], marks=[pytest.mark.heavy] if _draws(each) else []) for each in mine]


def _draws(exchange: dict[str, Any]) -> bool:
    return exchange["path"] in DRAWS and exchange["status"] == 200


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the checkpoints and styles that A1111 had then."""
    data = tmp_path_factory.mktemp("exchanges") / "data"
    checkpoints = data / "models" / "Stable-diffusion"
    checkpoints.mkdir(parents=True)
    for name in ("sdterm-demo", "demo-b"):
        shutil.copy(EMBEDDED_MODEL, checkpoints / f"{name}.safetensors")
    (data / "styles.csv").write_text(STYLES)
    (data / "a1111-options.json").write_text(json.dumps({"randn_source": "NV"}))
    with running(data, SDTERM_API="true", SDTERM_PORT=str(free_port()), SDTERM_MODEL="sdterm-demo") as it:
        yield it


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


@pytest.mark.parametrize("exchange", of("all"))
def test_an_exchange_goes_as_with_a1111(exchange: dict[str, Any], api: httpx.Client) -> None:
    compare(exchange, api.request(**asked(exchange)))


def compare(exchange: dict[str, Any], answer: httpx.Response) -> None:
    deviation = DEVIATIONS.get(exchange["id"])
    status = deviation.status if deviation and deviation.status else exchange["status"]
    assert answer.status_code == status, answer.text[:500]
    if deviation:
        assert status != exchange["status"] or [*differences(exchange["response"], answer.json())], "no deviation"
        return
    if said := exchange["headers"].get("content-type"):
        assert answer.headers["content-type"] == said
    if "response" in exchange:
        assert not [*differences(exchange["response"], answer.json())]
    elif "response_text" in exchange:
        assert answer.text == exchange["response_text"]

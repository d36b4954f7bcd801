"""Everything that A1111 was asked over HTTP, asked again: the same statuses, and answers of the same shape."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm.core.settings.logins import logins as logins_of
from sdterm.core.settings.paths import EMBEDDED_MODEL, EMBEDDINGS, HYPERNETWORKS, LORAS
from tests.host.running import Running, running, wait_until
from tests.host.sdapi.deviations import DEVIATIONS
from tests.host.sdapi.exchanges import EXCHANGES, asked, differences
from tests.host.sdapi.test_app import free_port

STYLES = """name,prompt,negative_prompt
night,"night, stars",sunset
framed,"lake, {prompt}, red house",
negative only,,"snow, {prompt}"
"""
DRAWS = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images")


BEFORE = {"txt2img/webp": {"samples_format": "webp"}, "txt2img/pnginfo-off": {"enable_pnginfo": False}}
"""Settings that A1111 had by an exchange that is not among these."""
MEANWHILE = {"job/interrupted": "interrupt", "job/interrupted-batch": "interrupt", "job/skipped-batch": "skip"}
"""What was asked for while it was drawn."""
ONCE = [
    each for each in EXCHANGES if "polls" not in each and "error" not in each and not each["id"].startswith("auth/")
]


def _is_heavy(exchange: dict[str, Any]) -> bool:
    """Whether a process draws for it."""
    if exchange["id"] == "img2img/init-torn":
        return True
    deviation = DEVIATIONS.get(exchange["id"])
    return exchange["path"] in DRAWS and ((deviation and deviation.status) or exchange["status"]) == 200


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the checkpoints and styles that A1111 had then."""
    data = tmp_path_factory.mktemp("exchanges") / "data"
    checkpoints = data / "models" / "Stable-diffusion"
    checkpoints.mkdir(parents=True)
    for name in ("sdterm-demo", "demo-b"):
        shutil.copy(EMBEDDED_MODEL, checkpoints / f"{name}.safetensors")
    (data / "styles.csv").write_text(STYLES)
    (data / "config.toml").write_text('model = "sdterm-demo"\nnoise_source = "NV"\n')
    for folder, name in ((LORAS, "a"), (EMBEDDINGS, "b"), (Path("models") / "VAE", "c")):
        (data / folder).mkdir(parents=True, exist_ok=True)
        save_file({"emb_params": np.zeros((1, 96), np.float32)}, data / folder / f"{name}.safetensors")
    (data / HYPERNETWORKS).mkdir(parents=True, exist_ok=True)
    (data / HYPERNETWORKS / "d.pt").touch()
    with running(data, SDTERM_API="true", SDTERM_WEB="false", SDTERM_PORT=str(free_port()), SDTERM_DEVICE="cpu") as it:
        yield it


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


@pytest.mark.parametrize(
    "exchange",
    [pytest.param(each, id=each["id"], marks=[pytest.mark.heavy] if _is_heavy(each) else []) for each in ONCE],
)
def test_an_exchange_goes_as_with_a1111(exchange: dict[str, Any], api: httpx.Client) -> None:
    if settings := BEFORE.get(exchange["id"]):
        assert api.post("/sdapi/v1/options", json=settings).status_code == 200
    if meanwhile := MEANWHILE.get(exchange["id"]):
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(api.request, **asked(exchange, str(api.base_url).rstrip("/")))
            wait_until(lambda: api.get("/sdapi/v1/progress").json()["state"]["sampling_step"] > 1)
            api.post(f"/sdapi/v1/{meanwhile}")
            compare(exchange, asking.result(300))
    else:
        compare(exchange, api.request(**asked(exchange, str(api.base_url).rstrip("/"))))


@pytest.mark.heavy
def test_exchanges_with_logins_go_as_with_a1111_until_the_host_is_told_to_stop(tmp_path: Path) -> None:
    logins = ",".join(logins_of("alice:secret,bob:pw2"))
    port = free_port()
    flags = {"SDTERM_API_AUTH": logins, "SDTERM_API_SERVER_STOP": "true"}
    with running(tmp_path / "data", SDTERM_API="true", SDTERM_PORT=str(port), SDTERM_DEVICE="cpu", **flags) as host:
        process = host.host
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as api:
            for exchange in EXCHANGES:
                if exchange["id"].startswith("auth/") and exchange["id"] not in ("auth/after-stop", "auth/after-kill"):
                    compare(exchange, api.request(**asked(exchange, str(api.base_url).rstrip("/"))))
        process.wait(60)


def compare(exchange: dict[str, Any], answer: httpx.Response) -> None:
    deviation = DEVIATIONS.get(exchange["id"])
    status = deviation.status if deviation and deviation.status else exchange["status"]
    assert answer.status_code == status, answer.text[:500]
    if deviation:
        assert status != exchange["status"] or [*differences(exchange["response"], answer.json())], "no deviation"
        return
    if said := exchange.get("headers", {}).get("content-type"):
        assert answer.headers["content-type"] == said
    if "response" in exchange:
        assert not [*differences(exchange["response"], answer.json())]
    elif "response_text" in exchange:
        assert answer.text == exchange["response_text"]

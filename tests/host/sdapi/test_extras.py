"""A1111's extras over HTTP: its own recorded bodies get its own pictures and words."""

import base64
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests import network_files
from tests.engine.golden import psnr
from tests.host.running import Running, running
from tests.host.sdapi.test_app import free_port
from tests.plugins.test_interrogators import write_tagger

GOLDEN = Path(__file__).parents[2] / "golden"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "upscaled.json").read_text())
PICTURES = np.load(GOLDEN / "upscaled.npz")
LIGHT = {
    "D10-none", "D13-two-0.25", "D20-to-150x100-tall-crop", "D28-rgba", "D36-rrdb-old-x4-tile64",
    "D46-unknown-upscaler", "D50-bad-mode", "D51-scale-0", "D53-w-0", "D55-batch-empty",
}  # fmt: skip
OTHERS = {
    "D45-rrdb-x4-by1": "the network runs once at scale 1, as in A1111 1.10; 1.9 ran it three times",
    "D48-gfpgan": "what is not there is said, and not written into the picture",
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("extras") / "data"
    network_files.write_upscalers(root)
    (root / "models" / "RealESRGAN").mkdir()
    (root / "models" / "ESRGAN" / "rrdb-x2.pth").rename(root / "models" / "RealESRGAN" / "rrdb-x2.pth")
    with running(root, SDTERM_API="true", SDTERM_PORT=str(free_port())) as it:
        yield it


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


def encoded(name: str, **more: Any) -> str:
    buffer = BytesIO()
    Image.fromarray(PICTURES[name]).save(buffer, "PNG", **more)
    return base64.b64encode(buffer.getvalue()).decode()


def opened(image: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(image)))


@pytest.mark.few(5)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in LIGHT else [pytest.mark.heavy]) for n in CASES if n not in OTHERS],
)
def test_a_recorded_body_gets_a1111s_answer(
    name: str, api: httpx.Client, record_property: Callable[[str, object], None]
) -> None:
    case = CASES[name]
    body = {**case["request"], **({"image": encoded(case["request"]["image"])} if "image" in case["request"] else {})}
    api.post("/sdapi/v1/options", json={"ESRGAN_tile": case["options"].get("ESRGAN_tile", 192)}).raise_for_status()
    answer = api.post(case["endpoint"], json=body)
    assert answer.status_code == case["status"], answer.text
    if case["status"] != 200:
        assert answer.json() == case["response"]
        return
    assert answer.json()["html_info"] == case["html_info"]
    if "image" not in body:
        assert answer.json()["images"] == []
        return
    image = opened(answer.json()["image"])
    assert image.info.get("postprocessing", "") == case["postprocessing"]
    found = psnr(np.asarray(image), PICTURES[name])
    record_property("case", f"extras {name}")
    record_property("psnr", found)
    assert found >= 60


def test_pictures_of_a_batch_come_in_their_order_with_what_they_said(api: httpx.Client, host: Running) -> None:
    said = {name: encoded(name) for name in ("@small", "@wide")}
    body = {"upscaler_1": "Nearest", "imageList": [{"data": data, "name": name} for name, data in said.items()]}
    answer = api.post("/sdapi/v1/extra-batch-images", json=body).json()
    assert answer["html_info"] == "<p>Postprocess upscale by: 2.0, Postprocess upscaler: Nearest</p>"
    assert [opened(image).size for image in answer["images"]] == [(128, 128), (320, 192)]
    assert not [*(host.settings.root / "outputs").rglob("*.png")], "nothing is saved that nobody asked for"


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"image": "!"}, 500, {"error": "HTTPException", "detail": "Invalid encoded image", "body": "", "errors": ""}),
        (
            {"image": None},
            422,
            {
                "detail": [
                    {
                        "loc": ["body", "image"],
                        "msg": "none is not an allowed value",
                        "type": "type_error.none.not_allowed",
                    }
                ]
            },
        ),
        (
            {"resize_mode": "1"},
            422,
            {
                "detail": [
                    {
                        "loc": ["body", "resize_mode"],
                        "msg": "unexpected value; permitted: 0, 1",
                        "type": "value_error.const",
                        "ctx": {"given": "1", "permitted": [0, 1]},
                    }
                ]
            },
        ),
        (
            {"codeformer_weight": 2},
            422,
            {
                "detail": [
                    {
                        "loc": ["body", "codeformer_weight"],
                        "msg": "ensure this value is less than or equal to 1",
                        "type": "value_error.number.not_le",
                        "ctx": {"limit_value": 1},
                    }
                ]
            },
        ),
    ],
)
def test_a_body_that_is_wrong_is_refused_in_a1111s_words(
    more: dict[str, Any], status: int, said: dict[str, Any], api: httpx.Client
) -> None:
    answer = api.post("/sdapi/v1/extra-single-image", json={"image": encoded("@small"), "upscaler_1": "Lanczos"} | more)
    assert (answer.status_code, answer.json()) == (status, said)


def test_a_picture_may_be_a_data_address_but_none_of_the_network(api: httpx.Client) -> None:
    body = {"image": f"data:image/png;base64,{encoded('@small')}", "upscaler_1": "Lanczos"}
    assert opened(api.post("/sdapi/v1/extra-single-image", json=body).json()["image"]).size == (128, 128)
    answer = api.post("/sdapi/v1/extra-single-image", json=body | {"image": "http://127.0.0.1/a.png"})
    assert answer.status_code == 500


def test_a_face_restorer_that_nobody_brings_is_named_with_what_to_do(api: httpx.Client) -> None:
    body = {"image": encoded("@small"), "upscaler_1": "Lanczos", "gfpgan_visibility": 0.5}
    answer = api.post("/sdapi/v1/extra-single-image", json=body)
    assert answer.status_code == 422
    assert "Install an extension that has a postprocessor GFPGAN" in answer.json()["detail"]
    assert api.get("/sdapi/v1/face-restorers").json() == []


def test_a_body_of_a_batch_that_is_wrong_is_refused(api: httpx.Client) -> None:
    answer = api.post("/sdapi/v1/extra-batch-images", json={"imageList": ["x", {"data": encoded("@small")}]})
    assert answer.status_code == 422
    assert [(one["loc"], one["msg"]) for one in answer.json()["detail"]] == [
        (["body", "imageList", 0], "value is not a valid dict"),
        (["body", "imageList", 1, "name"], "field required"),
    ]


def test_the_lists_name_what_is_there(api: httpx.Client, host: Running) -> None:
    listed = api.get("/sdapi/v1/upscalers").json()
    assert [each["name"] for each in listed] == ["None", "Lanczos", "Nearest", "rrdb-old-x4", "rrdb-x2", "rrdb-x4"]
    assert listed[0] == {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    assert listed[4]["model_path"] == str(host.settings.root / "models" / "RealESRGAN" / "rrdb-x2.pth")
    modes = [each["name"] for each in api.get("/sdapi/v1/latent-upscale-modes").json()]
    assert modes[0] == "Latent" and len(modes) == 6 and modes[-1] == "Latent (nearest-exact)"
    assert [each["name"] for each in api.get("/sdapi/v1/realesrgan-models").json()] == ["rrdb-x2"]


def test_a_file_that_is_broken_fails_with_its_name(api: httpx.Client, host: Running) -> None:
    (host.settings.root / "models" / "ESRGAN" / "broken.pth").write_bytes(b"nothing")
    answer = api.post("/sdapi/v1/extra-single-image", json={"image": encoded("@small"), "upscaler_1": "broken"})
    assert answer.status_code == 500 and "broken.pth is neither" in answer.json()["errors"]


@pytest.mark.heavy
def test_interrogate_gives_the_infotexts_prompt_or_says_what_is_missing(api: httpx.Client, host: Running) -> None:
    said = PngInfo()
    said.add_text("parameters", "a lake\nSteps: 3, Sampler: Euler, Seed: 5")
    body = {"image": encoded("@small", pnginfo=said), "model": "clip"}
    assert api.post("/sdapi/v1/interrogate", json=body).json() == {"caption": "a lake"}
    answer = api.post("/sdapi/v1/interrogate", json={"image": encoded("@small")})
    assert answer.status_code == 500 and str(host.settings.root / "models" / "BLIP") in answer.json()["errors"]
    write_tagger(host.settings.root / "models" / "torch_deepdanbooru" / "tagger")
    body = {"image": encoded("@small"), "model": "deepdanbooru"}
    assert api.post("/sdapi/v1/interrogate", json=body).json() == {"caption": "lake, red house"}
    assert api.post("/sdapi/v1/interrogate", json=body | {"model": "clip"}).status_code == 500, "it writes no captions"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 500),
        ({"image": "!"}, 500),
        ({"image": None}, 422),
        ({"image": 5}, 500),
        ({"image": "aaaa", "model": "x"}, 404),
    ],
)
def test_a_body_of_interrogate_that_is_wrong_is_refused(body: dict[str, Any], status: int, api: httpx.Client) -> None:
    answer = api.post("/sdapi/v1/interrogate", json=body)
    assert answer.status_code == status
    if status == 500:
        assert answer.json() == {"error": "HTTPException", "detail": "Invalid encoded image", "body": "", "errors": ""}

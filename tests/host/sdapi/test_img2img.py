"""A1111's img2img and inpainting: its own recorded bodies get its pictures and infotexts."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image

from sdterm.core.comparison import compare
from tests.host.running import Running

GOLDEN = Path(__file__).parents[2] / "golden"
CASES: list[dict[str, Any]] = json.loads((GOLDEN / "img2img.json").read_text())
PICTURES = np.load(GOLDEN / "img2img.npz")
SETTINGS = {"randn_source": "NV"}
_ONLY_SAID_AS_NUMBERS = re.compile(r"(?<=: )(\d+)\.0(?=,|$)")
_NOT_OURS = re.compile(r", Schedule type: [^,]*|, sdterm: .*|, Version: .*")  # of which A1111 says none by default


@pytest.fixture(scope="module")
def host(api_host: Running) -> Running:
    return api_host


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


def encoded(picture: np.ndarray, kind: str = "PNG") -> str:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def filled(value: Any) -> Any:
    """A body with its pictures for their names."""
    if isinstance(value, str) and value in PICTURES:
        return encoded(PICTURES[value])
    if isinstance(value, list):
        return [filled(each) for each in value]
    return value


def body(**changes: Any) -> dict[str, Any]:
    """A small request from a picture."""
    small = {"prompt": "lake", "steps": 2, "width": 64, "height": 64, "seed": 1, "init_images": ["@scene"]}
    return {name: filled(value) for name, value in (small | changes).items()}


def told(infotext: str) -> str:
    return _ONLY_SAID_AS_NUMBERS.sub(r"\1", _NOT_OURS.sub("", infotext))


@pytest.mark.few(9)
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case["id"], marks=[] if case.get("quick") else [pytest.mark.heavy]) for case in CASES],
)
def test_a_recorded_body_gets_a1111s_pictures(
    case: dict[str, Any], api: httpx.Client, record_property: Callable[[str, object], None]
) -> None:
    asked = {name: filled(value) for name, value in case["request"].items()}
    asked["override_settings"] = SETTINGS | case["request"].get("override_settings", {})
    answer = api.post("/sdapi/v1/img2img", json=asked)
    assert answer.status_code == case["status"], answer.text
    if answer.status_code != 200:
        return
    result = answer.json()
    assert len(result["images"]) == case["images"]
    worst = float("inf")
    for number, image in enumerate(result["images"]):
        drawn = np.asarray(Image.open(BytesIO(base64.b64decode(image))))
        wanted = PICTURES[f"{case['id']}/{number}"]
        assert drawn.shape == wanted.shape
        flat = (each.reshape(each.shape[0], -1, 1).repeat(3, 2) for each in (drawn, wanted))
        difference = compare(*flat)
        assert difference.psnr >= 45, difference
        worst = min(worst, difference.psnr)
    record_property("case", f"img2img {case['id']}")
    record_property("psnr", worst)
    infotexts = json.loads(result["info"])["infotexts"]
    assert [*map(told, infotexts)] == [*map(told, case["infotexts"])]


@pytest.mark.heavy
def test_pictures_come_in_any_form_and_go_back_only_where_that_is_asked_for(api: httpx.Client) -> None:
    scene, disc = PICTURES["@scene"], PICTURES["@mask_disc"]
    plain = api.post("/sdapi/v1/img2img", json=body()).json()
    forms = [f"data:image/png;base64,{encoded(scene)}", encoded(scene, "WEBP"), encoded(scene, "JPEG")]
    data_url, webp, jpeg = (api.post("/sdapi/v1/img2img", json=body(init_images=[form])) for form in forms)
    pixels = [Image.open(BytesIO(base64.b64decode(each["images"][0]))).tobytes() for each in (plain, data_url.json())]
    assert pixels[0] == pixels[1] and webp.status_code == jpeg.status_code == 200
    assert plain["parameters"]["init_images"] is None and plain["parameters"]["denoising_strength"] == 0.75
    both = api.post("/sdapi/v1/img2img", json=body(include_init_images=True, mask=encoded(disc), mask_blur=-4)).json()
    assert both["parameters"]["init_images"] == [encoded(scene)] and both["parameters"]["mask"] == encoded(disc)
    assert "Mask blur" not in json.loads(both["info"])["infotexts"][0]
    assert api.post("/sdapi/v1/img2img", json=body(send_images=False)).json()["images"] == []


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"init_images": None}, 404, "Init image not found"),
        ({"init_images": "text"}, 422, "value is not a valid list"),
        ({"init_images": ["no picture"]}, 500, "Invalid encoded image"),
        ({"init_images": [base64.b64encode(b"a sentence").decode()]}, 500, "Invalid encoded image"),
        ({"init_images": [None]}, 500, "Invalid encoded image"),
        ({"init_images": []}, 500, "init_images is empty"),
        ({"init_images": ["http://127.0.0.1:9/x.png"]}, 500, "Requests not allowed"),
        ({"init_images": ["@scene", "@scene"]}, 500, "bad number of images passed: 2; expecting 1 or less"),
        ({"mask": ["@mask_disc"]}, 422, "str type expected"),
        ({"denoising_strength": None}, 422, "none is not an allowed value"),
        ({"denoising_strength": -0.5}, 500, "denoising_strength is -0.5"),
        ({"resize_mode": "x"}, 422, "value is not a valid integer"),
        ({"alwayson_scripts": {"nope": {"args": []}}}, 422, "Script 'nope' not found"),
        ({"sampler_name": "UniPC", "steps": 12, "denoising_strength": 0.2}, 500, "at least 3 steps"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_in_a_sentence(
    changes: dict[str, Any], status: int, said: str, api: httpx.Client
) -> None:
    answer = api.post("/sdapi/v1/img2img", json=body(**changes))
    assert answer.status_code == status and said in answer.text


def test_numbers_out_of_range_are_what_a1111_makes_of_them(api: httpx.Client) -> None:
    odd = {"inpainting_fill": 9, "inpainting_mask_invert": 2, "resize_mode": 7, "denoising_strength": 1.5}
    answer = api.post("/sdapi/v1/img2img", json=body(mask="@mask_disc", **odd))
    (infotext,) = json.loads(answer.json()["info"])["infotexts"]
    assert "Masked content: fill" in infotext and "Mask mode: Inpaint not masked" in infotext

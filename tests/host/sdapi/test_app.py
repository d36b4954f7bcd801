"""A1111's API as its clients use it: its own recorded bodies get its own answers."""

import base64
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from sdterm import events
from sdterm.core.comparison import compare
from sdterm.core.settings.paths import EMBEDDINGS, HYPERNETWORKS, LORAS
from tests.host.running import Running, running

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = json.loads((GOLDEN / "sdapi.json").read_text())
PICTURES = np.load(GOLDEN / "sdapi.npz")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def host(api_host: Running) -> Running:
    return api_host


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


def pixels(image: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(image))).convert("RGB"))


def draw(api: httpx.Client, **body: Any) -> dict[str, Any]:
    small = {"prompt": "lake", "steps": 2, "width": 64, "height": 64, "seed": 1}
    answer = api.post("/sdapi/v1/txt2img", json=small | body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.few(6)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_recorded_body_gets_a1111s_answer(
    case: dict[str, Any], api: httpx.Client, record_property: Callable[[str, object], None]
) -> None:
    raw = case.get("raw_body", None if "request" not in case else json.dumps(case["request"]))
    headers = case.get("request_headers", {"content-type": "application/json"})
    answer = api.post("/sdapi/v1/txt2img", content=raw, headers=headers)
    assert answer.status_code == case["status"], answer.text
    assert float(answer.headers["x-process-time"]) >= 0
    if answer.status_code != 200:
        assert answer.json() == case["response"]
        return
    result = answer.json()
    info = json.loads(result["info"])
    assert len(result["images"]) == case.get("images", len(case["infotexts"] or result["images"]))
    found = []
    for number, image in enumerate(result["images"]):
        assert Image.open(BytesIO(base64.b64decode(image))).info["parameters"] == info["infotexts"][number]
        if f"{case['id']}/{number}" in PICTURES:
            found.append(compare(pixels(image), PICTURES[f"{case['id']}/{number}"]).psnr)
    if found:
        record_property("case", f"txt2img {case['id'].removeprefix('txt2img/')}")
        record_property("psnr", min(found))
        assert min(found) >= 45
    ours = [re.sub(r"(, sdterm: [^,]*)?, Version: .*|, sdterm: .*", "", text) for text in info["infotexts"]]
    assert ours == [text.removesuffix(", Version: 1.9.4") for text in case["infotexts"] or ours]


def test_the_answer_echoes_the_request_and_tells_all_of_info(api: httpx.Client) -> None:
    result = draw(api, batch_size=2, n_iter=2, subseed=5, subseed_strength=0.3, styles=["nobody"], unheard_of=1)
    info = json.loads(result["info"])
    assert result["parameters"]["n_iter"] == 2 and result["parameters"]["hr_scale"] == 2.0
    assert "unheard_of" not in result["parameters"]
    assert len(result["images"]) == 4 == len(info["infotexts"])
    assert info["all_seeds"] == [1, 1, 1, 1] and info["all_subseeds"] == [5, 6, 7, 8]
    assert (info["width"], info["height"], info["sd_model_name"], info["styles"]) == (64, 64, "sdterm-demo", ["nobody"])
    recorded = json.loads((GOLDEN / "sdapi_info.json").read_text())
    assert [*info] == recorded


def test_images_are_saved_only_where_that_is_asked_for(api: httpx.Client, host: Running) -> None:
    outputs = host.settings.root / "outputs"
    before, files = host.client.pictures().total, {*outputs.rglob("*.png")}
    draw(api)
    assert host.client.pictures().total == before and {*outputs.rglob("*.png")} == files
    assert not [*(host.settings.root / "run" / "api").glob("*")]
    result = draw(api, save_images=True, n_iter=2)
    assert json.loads(result["info"])["index_of_first_image"] == 1
    assert len(result["images"]) == 3 == len({*outputs.rglob("*.png")} - files)
    assert pixels(result["images"][0]).shape[1] == 2 * 64, "the grid comes first"


HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "denoising_strength": 0.6}


def test_the_first_passs_picture_is_saved_with_the_image_and_is_none_of_the_answers(
    api: httpx.Client, host: Running
) -> None:
    setting = {"override_settings": {"save_images_before_highres_fix": True}}
    assert len(draw(api, **HIRES, **setting, save_images=True)["images"]) == 1
    newest = host.client.pictures(limit=2).pictures
    assert {picture.kind for picture in newest} == {"image", "before hires"}
    assert len(draw(api, **HIRES, **setting)["images"]) == 1


def test_a_picture_stands_for_the_first_pass(api: httpx.Client) -> None:
    """A1111's own API takes it and fails on it: here it is what A1111's page does with one."""
    (first,) = draw(api)["images"]
    whole, from_it = draw(api, **HIRES), draw(api, **HIRES, firstpass_image=first)
    assert np.array_equal(pixels(whole["images"][0]), pixels(from_it["images"][0]))
    assert from_it["parameters"]["firstpass_image"] == first
    plain = draw(api, firstpass_image=first)
    assert np.array_equal(pixels(plain["images"][0]), pixels(first)), "nothing goes on from it"


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_host_that_ends_first_says_so_and_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    with running(tmp_path / "data", SDTERM_API="true", SDTERM_PORT=str(free_port())) as host:
        api = httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300)
        body = {"prompt": "lake", "steps": 100, "width": 64, "height": 64, "n_iter": 20}
        with api, ThreadPoolExecutor(1) as pool:
            asking = pool.submit(api.post, "/sdapi/v1/txt2img", json=body)
            job = next(entry.job for entry in host.client.events(after=0) if isinstance(entry.event, events.Queued))
            assert job
            assert any(isinstance(entry.event, events.Image) for entry in host.entries(job))
            if how == "kill":
                host.kill_host()
                with pytest.raises(httpx.RemoteProtocolError):
                    asking.result()
            else:
                host.client.stop()
                assert asking.result().json()["error"] == "host_ended"
                assert "Send the request again" in asking.result().json()["errors"]
        host.again()
        assert isinstance(host.events(job)[-1], events.Cancelled)
        assert host.client.pictures().total == 0
        assert not host.settings.root.joinpath("run", "api").exists()


def test_settings_are_read_set_and_stay(api: httpx.Client, host: Running) -> None:
    settings = api.get("/sdapi/v1/options").json()
    assert settings["CLIP_stop_at_last_layers"] == 1 and settings["sd_model_checkpoint"].startswith("sdterm-demo")
    plain = draw(api)
    assert api.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2, "eta_ancestral": 0.5}).status_code == 200
    try:
        changed = draw(api, sampler_name="Euler a")
        assert "Clip skip: 2" in changed["info"] and "Eta: 0.5" in changed["info"]
        once = draw(api, override_settings={"CLIP_stop_at_last_layers": 1})
        assert once["images"] == plain["images"]
        settings = api.get("/sdapi/v1/options").json()
        assert (settings["CLIP_stop_at_last_layers"], settings["eta_ancestral"]) == (2, 0.5)
        assert "clip_skip = 2" in (host.settings.root / "config.toml").read_text()
    finally:
        api.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1, "eta_ancestral": 1.0})
    assert draw(api)["images"] == plain["images"]
    unknown = api.post("/sdapi/v1/options", json={"nonsense": 1})
    assert (unknown.status_code, unknown.json()["error"], unknown.json()["errors"]) == (500, "KeyError", "'nonsense'")
    nowhere = api.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nowhere"})
    assert nowhere.status_code == 500 and "nowhere" in nowhere.json()["errors"]


def test_settings_that_come_at_once_are_all_kept(api: httpx.Client, host: Running) -> None:
    plain = {"eta_ancestral": 1.0, "eta_ddim": 0.0, "s_churn": 0.0, "s_tmin": 0.0, "s_noise": 1.0, "rho": 0.0}
    others = {name: value + 0.5 for name, value in plain.items()}
    for settings in (others, plain):
        with ThreadPoolExecutor(len(plain)) as pool:
            sent = [pool.submit(api.post, "/sdapi/v1/options", json={name: settings[name]}) for name in settings]
        assert {answer.result().status_code for answer in sent} == {200}
        kept = json.loads((host.settings.root / "a1111-options.json").read_text())
        assert settings.items() <= kept.items()


def test_all_settings_can_be_sent_back_as_they_came(api: httpx.Client, host: Running) -> None:
    config = host.settings.root / "config.toml"
    before = config.read_text() if config.exists() else None
    settings = api.get("/sdapi/v1/options").json()
    assert api.post("/sdapi/v1/options", json=settings).status_code == 200
    assert api.get("/sdapi/v1/options").json() == settings
    assert (config.read_text() if config.exists() else None) == before


@pytest.mark.parametrize(
    ("name", "value"), [("samples_format", "bmp"), ("CLIP_stop_at_last_layers", 99), ("face_restoration", True)]
)
def test_a_setting_that_no_job_could_be_drawn_with_is_refused(api: httpx.Client, name: str, value: object) -> None:
    answer = api.post("/sdapi/v1/options", json={name: value})
    assert answer.status_code == 422 and name in answer.json()["detail"]
    assert api.get("/sdapi/v1/options").json()[name] != value


def test_models_samplers_and_loras_are_listed(api: httpx.Client, host: Running) -> None:
    (model,) = api.get("/sdapi/v1/sd-models").json()
    assert model["model_name"] == "sdterm-demo" and model["filename"].endswith(".safetensors")
    samplers = {sampler["name"]: sampler for sampler in api.get("/sdapi/v1/samplers").json()}
    assert samplers["DPM++ 2M"] == {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}
    assert api.get("/sdapi/v1/loras").json() == []
    assert api.get("/sdapi/v1/embeddings").json() == {"loaded": {}, "skipped": {}}
    for name in ("checkpoints", "vae", "loras", "embeddings"):
        assert api.post(f"/sdapi/v1/refresh-{name}").json() is None
    title = draw(api, override_settings={"sd_model_checkpoint": f"{model['title']} [{'d230c9cccc'}]"})
    assert "sdterm-demo" in title["info"]


def test_lists_of_model_files_have_a1111s_keys(api: httpx.Client, host: Running) -> None:
    root = host.settings.root
    ink, hands = root / LORAS / "in" / "ink.safetensors", root / EMBEDDINGS / "hands.safetensors"
    vae, hyper = root / "models" / "VAE" / "v.pt", root / HYPERNETWORKS / "h.pt"
    for path in (ink, hands, vae, hyper):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    save_file({"x": np.zeros(1)}, ink, {"ss_output_name": "Water Ink"})
    save_file({"emb_params": np.zeros((3, 768))}, hands)
    try:
        assert api.get("/sdapi/v1/loras").json() == [
            {"name": "ink", "alias": "Water Ink", "path": str(ink), "metadata": {"ss_output_name": "Water Ink"}}
        ]
        assert api.get("/sdapi/v1/sd-vae").json() == [{"model_name": "v.pt", "filename": str(vae)}]
        assert api.get("/sdapi/v1/hypernetworks").json() == [{"name": "h", "path": str(hyper)}]
        loaded = api.get("/sdapi/v1/embeddings").json()["loaded"]
        assert [*loaded] == ["hands"] and (loaded["hands"]["vectors"], loaded["hands"]["shape"]) == (3, 768)
    finally:
        for path in (ink, hands, vae, hyper):
            path.unlink()


def test_the_vae_is_approximated_where_a_setting_says_so(api: httpx.Client) -> None:
    answer = draw(api, override_settings={"sd_vae_decode_method": "Approx cheap"})
    assert pixels(answer["images"][0]).shape == (8, 8, 3) and "VAE Decoder: Approx cheap" in answer["info"]
    small = {"prompt": "lake", "steps": 1, "width": 64, "height": 64}
    missing = api.post("/sdapi/v1/txt2img", json=small | {"override_settings": {"sd_vae_decode_method": "TAESD"}})
    assert missing.status_code == 500 and "taesd_decoder" in missing.json()["errors"]


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"script_name": "x/y/z plot"}, 422, "Script 'x/y/z plot' not found"),
        ({"alwayson_scripts": {"nope": {"args": []}}}, 422, "nope"),
        ({"override_settings": {"face_restoration": True}}, 422, "face_restoration"),
        ({"restore_faces": True}, 422, "restore_faces"),
        ({"enable_hr": True, "hr_upscaler": "Nope"}, 500, "'Nope'"),
        ({"steps": 0}, 500, "steps"),
        ({"width": 99999}, 500, "width"),
        ({"prompt": "\x1b[31m"}, 500, "prompt"),
        ({"seed": 2**70}, 500, "seed"),
        ({"cfg_scale": -101}, 500, "cfg_scale"),
        ({"denoising_strength": float("inf")}, 500, "denoising_strength"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(
    api: httpx.Client, body: dict[str, Any], status: int, named: str
) -> None:
    """With a 422 what sdterm does not have, with A1111's 500 what A1111 fails on, too."""
    headers = {"content-type": "application/json"}
    answer = api.post("/sdapi/v1/txt2img", content=json.dumps({"prompt": "x", "steps": 1} | body), headers=headers)
    said = answer.json()
    assert answer.status_code == status and said.keys() == {"error", "detail", "body", "errors"}
    assert named in said["detail" if status == 422 else "errors"]


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}], ids=str
)
def test_pages_in_a_browser_cannot_use_it(api: httpx.Client, headers: dict[str, str]) -> None:
    assert api.get("/sdapi/v1/options", headers=headers).status_code == 403


def test_a_body_that_does_not_say_its_length_has_a_limit_too(api: httpx.Client) -> None:
    answer = api.post("/sdapi/v1/txt2img", content=(b" " * 2**20 for _ in range(65)))
    assert answer.status_code == 413


@pytest.mark.parametrize("kind", ["", "Application/JSON", "application/problem+json; charset=utf-8"])
def test_a_body_is_json_whatever_kind_of_json_it_is_said_to_be(api: httpx.Client, kind: str) -> None:
    answer = api.post("/sdapi/v1/txt2img", content=b'{"width": 0}', headers={"content-type": kind})
    assert answer.status_code == 500 and "width" in answer.json()["errors"]


def test_a_body_of_very_many_values_is_refused_before_it_is_read(api: httpx.Client) -> None:
    content = b'{"comments": [' + b"[]," * 250_000 + b"[]]}"
    answer = api.post("/sdapi/v1/txt2img", content=content)
    assert answer.status_code == 413 and "too many values" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"hr_upscaler": "\ud800"},
        {"override_settings": {"samples_format": [1]}},
        {"override_settings": {"samples_filename_pattern": "\ud800"}},
        {"comments": {"a": [float("nan")]}},
        {"script_args": [float("inf")]},
    ],
    ids=str,
)
def test_values_that_no_json_or_file_can_hold_are_refused_before_anything_is_drawn(
    api: httpx.Client, body: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json"}
    answer = api.post("/sdapi/v1/txt2img", content=json.dumps({"prompt": "x", "steps": 1} | body), headers=headers)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][1] in str(body)


def test_the_hash_of_init_images_is_off_as_in_a1111_until_a_client_turns_it_on(api: httpx.Client) -> None:
    def is_written() -> bool:
        init = {"init_images": draw(api, steps=1)["images"], "prompt": "x", "steps": 1, "width": 64, "height": 64}
        return "Init image hash" in api.post("/sdapi/v1/img2img", json=init).json()["info"]

    try:
        for value in (False, True):
            assert api.get("/sdapi/v1/options").json()["save_init_img"] is value is is_written()
            api.post("/sdapi/v1/options", json={"save_init_img": True})
    finally:
        api.post("/sdapi/v1/options", json={"save_init_img": False})


def test_a_setting_of_the_wrong_type_is_refused_and_not_kept(api: httpx.Client) -> None:
    for name, value in (("eta_ancestral", "abc"), ("samples_format", [1]), ("samples_filename_pattern", "\ud800")):
        answer = api.post("/sdapi/v1/options", content=json.dumps({name: value}))
        assert answer.status_code == 422 and name in answer.json()["detail"][0]["loc"]
    draw(api, sampler_name="Euler a")


def test_null_is_not_given_and_styles_that_are_no_names_are_passed_over(api: httpx.Client) -> None:
    small = draw(api, steps=None, styles=[[], {}, 1])
    assert "Steps: 50" in small["info"]
    assert "Size: 512x64" in draw(api, width=None, steps=1)["info"]


def test_v1_is_on_the_port_for_who_has_a_token_and_nothing_else_is(api: httpx.Client) -> None:
    assert api.get("/v1/health").status_code == 401
    assert api.get("/sdapi/v1/nope").json() == {"detail": "Not Found"}
    assert api.put("/sdapi/v1/txt2img").status_code == 405


def test_sdterm_serves_in_the_foreground_until_ctrl_c_however_that_is_typed(tmp_path: Path) -> None:
    port = free_port()
    sdterm = [sys.executable, "-m", "sdterm"]
    command = [*sdterm, "--api", "--nowebui", "-port", str(port), "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        opened = f"Open at http://127.0.0.1:{port} to programs of this machine alone: A1111's API needs no password"
        assert serving.stdout.readline().startswith(opened)
        assert serving.stdout.readline().startswith("Ctrl+C ends it")
        again = [*sdterm, "serve", "--api", "--data-dir", str(tmp_path)]
        second = subprocess.run(again, capture_output=True, text=True)
        assert second.returncode == 1 and "sdterm host stop" in second.stderr
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/sdapi/v1/samplers").status_code == 200
        serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 0


def test_a_port_that_somebody_has_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "sdterm", "serve", "--api", "--data-dir", str(tmp_path)]
        done = subprocess.run([*command, "--port", str(taken.getsockname()[1])], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("Choose another one: --port.\n")

"""Programs that were written for A1111, unchanged, against sdterm."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from webuiapi import HiResUpscaler, WebUIApi, WebUIApiResult

from sdterm.core.infotext.files import read_infotext
from sdterm.host.sdapi.values import OPTIONS
from tests.host.running import Running

NODE_CLIENT = "node-sd-webui@0.0.8"
SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "seed": 1, "cfg_scale": 7}


@pytest.fixture(scope="module")
def host(api_host: Running) -> Running:
    return api_host


@pytest.fixture(scope="module")
def api(host: Running) -> WebUIApi:
    return WebUIApi(port=host.settings["port"])


@pytest.fixture(scope="module")
def drawn(api: WebUIApi) -> WebUIApiResult:
    return api.txt2img(prompt="lake", **SMALL)


def test_webuiapi_draws(api: WebUIApi, drawn: WebUIApiResult) -> None:
    assert drawn.image.size == (64, 64) and drawn.parameters["steps"] == 2
    assert drawn.info["all_seeds"] == [1] and drawn.info["sampler_name"] == "Euler a"
    assert drawn.info["infotexts"] == [drawn.image.info["parameters"]]
    styled = api.txt2img(prompt="lake", styles=["night"], **SMALL, n_iter=2, save_images=True)
    assert styled.info["prompt"] == "lake, night, stars" and len(styled.images) == 3, "a grid and two images"
    hires = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": HiResUpscaler.Latent, "denoising_strength": 0.7}
    assert api.txt2img(prompt="lake", **SMALL, **hires).image.size == (96, 96)
    from_image = api.img2img(images=[drawn.image], prompt="night, lake", **SMALL, denoising_strength=0.6)
    assert from_image.image.size == (64, 64) and "Denoising strength: 0.6" in from_image.info["infotexts"][0]
    mask = Image.new("L", (64, 64), 255)
    assert api.img2img(images=[drawn.image], mask_image=mask, mask_blur=0, prompt="night", **SMALL).images


def test_webuiapi_makes_pictures_larger_and_reads_them(api: WebUIApi, drawn: WebUIApiResult) -> None:
    larger = api.extra_single_image(image=drawn.image, upscaler_1="Lanczos", upscaling_resize=1.5)
    assert larger.image.size == (96, 96) and "Lanczos" in larger.info
    pair = api.extra_batch_images(images=[drawn.image, drawn.image], upscaler_1="Nearest", upscaling_resize=2)
    assert [image.size for image in pair.images] == [(128, 128)] * 2
    read = api.png_info(drawn.image)
    assert read.info == drawn.image.info["parameters"] and read.parameters["Seed"] == "1"
    assert api.interrogate(drawn.image).info == "lake"


def test_webuiapi_lists_what_there_is(api: WebUIApi, host: Running) -> None:
    assert "Euler a" in api.util_get_sampler_names() and "karras" in api.util_get_scheduler_names()
    (title,) = api.util_get_model_names()
    assert title.startswith("sdterm-demo") and api.get_sd_models()[0]["title"] == title
    assert api.get_sd_vae() == [] and api.get_loras() == [] and api.get_hypernetworks() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert {"None", "Lanczos", "Nearest"} <= {each["name"] for each in api.get_upscalers()}
    assert "Latent" in {each["name"] for each in api.get_latent_upscale_modes()}
    assert isinstance(api.get_realesrgan_models(), list) and isinstance(api.get_face_restorers(), list)
    assert {each["name"] for each in api.get_prompt_styles()} == {"night"}
    assert {"txt2img", "img2img"} == api.get_scripts().keys()
    assert {"ram", "cuda"} == api.get_memory().keys() and "port" in api.get_cmd_flags()
    assert api.refresh_checkpoints() is None
    assert api.get_artists() == {"detail": "Not Found"} == api.get_artist_categories()
    assert api.custom_get("sdapi/v1/samplers") == api.get_samplers()
    assert api.custom_get("samplers", baseurl=True) == api.get_samplers()


def test_webuiapi_sets_options_and_watches(api: WebUIApi, host: Running) -> None:
    assert OPTIONS.keys() <= api.get_options().keys()
    assert api.set_options({"CLIP_stop_at_last_layers": 1}) is None
    title = api.util_get_current_model()
    api.util_set_model("sdterm demo")
    assert api.util_get_current_model() == title
    api.util_wait_for_ready(check_interval=0.1)
    progress = api.get_progress()
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    assert api.interrupt() == {} and api.skip() is None


def test_webuiapi_is_told_what_is_wrong(api: WebUIApi) -> None:
    with pytest.raises(RuntimeError) as failed:
        api.txt2img(prompt="lake", **SMALL, sampler_name="Nope")
    status, text = failed.value.args
    assert status == 404 and "Sampler not found" in text
    with pytest.raises(RuntimeError):
        api.custom_post("sdapi/v1/nope")
    with pytest.raises(RuntimeError):
        api.txt2img(prompt="lake", **SMALL, alwayson_scripts={"ControlNet": {"args": []}})


def test_webuiapi_draws_while_its_caller_does_something_else(api: WebUIApi, drawn: WebUIApiResult) -> None:
    pytest.importorskip("aiohttp")

    async def two() -> list[WebUIApiResult]:
        return await asyncio.gather(*(api.txt2img(prompt="lake", **SMALL, use_async=True) for _ in range(2)))

    assert [result.image.tobytes() for result in asyncio.run(two())] == [drawn.image.tobytes()] * 2


@pytest.fixture(scope="module")
def sampled(host: Running, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The picture that the guide's sample writes, as it stands on the page but for the port."""
    page = (repo / "docs" / "how-to" / "api.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "http://127.0.0.1:7860" in sample
    folder = tmp_path_factory.mktemp("sample")
    (folder / "sample.py").write_text(sample.replace("7860", str(host.settings["port"])))
    subprocess.run([sys.executable, "sample.py"], cwd=folder, check=True)
    return folder / "output.png"


def test_the_guides_sample_runs_and_the_json_that_it_writes_is_read(sampled: Path) -> None:
    answer = json.loads(Image.open(sampled).info["parameters"])
    assert [read_infotext(sampled)] == answer["infotexts"] and "sunset, lake, red house" in answer["infotexts"][0]


@pytest.mark.heavy
def test_the_commands_read_the_guides_picture_and_draw_it_again(host: Running, sampled: Path) -> None:
    def sdterm(*words: str) -> str:
        command = [sys.executable, "-m", "sdterm", *words, "--data-dir", str(host.settings.root)]
        return subprocess.run(command, cwd=sampled.parent, check=True, capture_output=True, text=True).stdout

    seed = json.loads(Image.open(sampled).info["parameters"])["seed"]
    told = sdterm("info", "output.png")
    assert told.startswith("sunset, lake, red house\n") and f"Seed: {seed}" in told
    sdterm("generate", "--from", "output.png", "--out", "again", "--no-show")
    (again,) = (sampled.parent / "again").glob("*.png")
    assert Image.open(again).convert("RGB").tobytes() == Image.open(sampled).convert("RGB").tobytes()


@pytest.mark.heavy
def test_a_client_of_another_language_works_as_it_is(host: Running, tmp_path: Path) -> None:
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip(f"{NODE_CLIENT} needs node and npm")
    cache = {**os.environ, "npm_config_cache": str(tmp_path / "cache"), "npm_config_update_notifier": "false"}
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", NODE_CLIENT]
    installed = subprocess.run(install, cwd=tmp_path, env=cache, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"{NODE_CLIENT} cannot be fetched: {installed.stderr[-300:]}")
    (tmp_path / "draw.mjs").write_text("""
        import sdwebui, { SamplingMethod } from 'node-sd-webui'
        const client = sdwebui({ apiUrl: process.argv[2] })
        const small = { prompt: 'lake', negativePrompt: 'rain', width: 64, height: 64, steps: 2, seed: 1 }
        const drawn = {}
        for (const samplingMethod of Object.values(SamplingMethod)) {
            if (samplingMethod !== 'DPM++ S2 a')  // which A1111 does not know either
                drawn[samplingMethod] = (await client.txt2img({ ...small, samplingMethod })).info
        }
        const two = await client.txt2img({ ...small, batchSize: 2, variationSeed: 5, variationSeedStrength: 0.2 })
        const larger = { upscaler: 'Latent', upscaleBy: 1.5, steps: 1, denoisingStrength: 0.7 }
        const hires = (await client.txt2img({ ...small, hires: larger })).info
        const again = (await client.img2img({ ...small, imageData: [two.images[0]] })).info
        const read = await client.pngInfo({ imageData: two.images[0] })
        const wrong = await client.txt2img({ ...small, samplingMethod: 'Nope' }).catch((error) => error.message)
        console.log(JSON.stringify({ drawn, images: two.images.length, hires, again, read, wrong }))
    """)
    command = ["node", "draw.mjs", f"http://127.0.0.1:{host.settings['port']}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Schedule type: Karras" in told["drawn"]["DPM++ 2M Karras"] and len(told["drawn"]) == 18
    assert told["images"] == 2 and "Hires upscale: 1.5" in told["hires"] and "Denoising strength" in told["again"]
    assert (told["read"]["prompt"], told["read"]["negativePrompt"], told["read"]["steps"]) == ("lake", "rain", 2)
    assert told["wrong"] == "Not Found"

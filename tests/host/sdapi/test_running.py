"""A1111's progress, interrupt and skip, while something is drawn."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from PIL import Image

from tests.host.running import Running, running, wait_until
from tests.host.sdapi.exchanges import EXCHANGES, differences
from tests.host.sdapi.test_app import free_port

LONG = {"prompt": "lake", "steps": 150, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler a"}


@pytest.fixture(scope="module")
def host(api_host: Running) -> Running:
    return api_host


@pytest.fixture(scope="module")
def api(host: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300) as client:
        yield client


class Drawing:
    """A request that is being drawn, watched from beside it."""

    def __init__(self, api: httpx.Client, **body: Any) -> None:
        self._api = api
        self._pool = ThreadPoolExecutor(1)
        self._answer: Future[httpx.Response] = self._pool.submit(api.post, "/sdapi/v1/txt2img", json=LONG | body)

    def progress(self) -> dict[str, Any]:
        said: dict[str, Any] = self._api.get("/sdapi/v1/progress").json()
        return said

    def at(self, step: int, batch: int = 0) -> dict[str, Any]:
        """Its progress once it is there."""
        seen: list[dict[str, Any]] = []

        def is_there() -> bool:
            assert not self._answer.done(), self._answer.result().text[:500]
            seen[:] = [self.progress()]
            return bool(seen[0]["state"]["job_no"] >= batch and seen[0]["state"]["sampling_step"] >= step)

        wait_until(is_there)
        return seen[0]

    def end(self) -> dict[str, Any]:
        answer = self._answer.result(120)
        self._pool.shutdown()
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


def size(image: str) -> tuple[int, int]:
    with Image.open(BytesIO(base64.b64decode(image))) as picture:
        assert "Steps: 150" in picture.info["parameters"], "the infotext is that of the whole picture"
        return picture.size


def test_progress_is_told_as_a1111_does_and_an_interrupt_ends_with_the_picture_as_it_stands(api: httpx.Client) -> None:
    drawing = Drawing(api, n_iter=3, force_task_id="task(mine)")
    said = drawing.at(3)
    polled = next(each for each in EXCHANGES if each["id"] == "progress/during-txt2img")["polls"][1]
    assert not [*differences({**polled, "current_image": None}, {"after": 0.0, **said, "current_image": None})]
    assert said["state"]["job"].startswith("Batch 1 out of 3") and said["state"]["job_count"] == 3
    assert 0.01 < said["progress"] < 0.34 and said["eta_relative"] > 0
    wait_until(lambda: drawing.progress()["current_image"])
    with Image.open(BytesIO(base64.b64decode(drawing.progress()["current_image"]))) as preview:
        assert preview.format == "PNG"
    assert api.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None
    mine = api.post("/internal/progress", json={"id_task": "task(mine)"}).json()
    assert (mine["active"], mine["queued"], mine["completed"]) == (True, False, False)
    assert mine["live_preview"].startswith("data:image/png;base64,")
    assert api.get("/internal/pending-tasks").json() == {"size": 1, "tasks": ["task(mine)"]}
    assert api.post("/sdapi/v1/interrupt").json() == {}
    answer = drawing.end()
    assert [size(image) for image in answer["images"]] == [(64, 64)]
    assert len(json.loads(answer["info"])["all_seeds"]) == 3
    idle = drawing.progress()
    assert (idle["progress"], idle["state"]["job"], idle["state"]["job_count"]) == (0, "", 0)
    assert idle["state"]["interrupted"] and idle["current_image"] is None
    assert api.post("/internal/progress", json={"id_task": "task(mine)"}).json()["completed"] is True
    assert api.post("/internal/progress", json={"id_task": "nobody"}).json()["textinfo"] == "Waiting..."


def test_a_skip_goes_on_with_the_next_picture_and_an_idle_interrupt_does_nothing(api: httpx.Client) -> None:
    assert api.post("/sdapi/v1/interrupt").json() == {} and api.post("/sdapi/v1/skip").json() is None
    whole = api.post("/sdapi/v1/txt2img", json=LONG | {"n_iter": 2, "steps": 4}).json()
    assert len(whole["images"]) == 2
    drawing = Drawing(api, n_iter=2)
    drawing.at(2)
    assert api.post("/sdapi/v1/skip").json() is None
    drawing.at(2, batch=1)
    assert api.post("/sdapi/v1/skip").json() is None
    assert [size(image) for image in drawing.end()["images"]] == [(64, 64)] * 2
    assert not drawing.progress()["state"]["interrupted"]


def test_an_interrupted_first_pass_is_the_picture(api: httpx.Client, host: Running) -> None:
    drawing = Drawing(api, enable_hr=True, hr_scale=2, hr_upscaler="Latent", denoising_strength=0.7, n_iter=2)
    assert drawing.at(2)["state"]["job_count"] == 4
    api.post("/sdapi/v1/interrupt")
    assert [size(image) for image in drawing.end()["images"]] == [(64, 64)]
    newest = host.client.jobs(limit=1).jobs[0]
    assert (newest.state, newest.done, newest.left_out) == ("done", 1, (1,))


@pytest.mark.heavy
def test_an_interrupt_outlives_the_process_that_draws(api: httpx.Client, host: Running) -> None:
    drawing = Drawing(api, n_iter=3)
    drawing.at(3)
    worker = host.worker
    api.post("/sdapi/v1/interrupt")
    worker.kill()
    assert [size(image) for image in drawing.end()["images"]] == [(64, 64)]


@pytest.mark.heavy
def test_an_interrupt_ends_pictures_being_made_larger(api: httpx.Client) -> None:
    made = BytesIO()
    Image.new("RGB", (256, 256), "teal").save(made, "PNG")
    one = {"data": base64.b64encode(made.getvalue()).decode(), "name": "a.png"}
    body = {"imageList": [one] * 300, "upscaler_1": "Lanczos", "upscaling_resize": 4}
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(api.post, "/sdapi/v1/extra-batch-images", json=body)

        def has_begun() -> bool:
            state = api.get("/sdapi/v1/progress").json()["state"]
            return bool(state["job"] == "Upscale" and state["job_no"])

        wait_until(has_begun)
        assert api.post("/sdapi/v1/interrupt").json() == {}
        answer = asking.result(120)
    assert answer.status_code == 200 and 0 < len(answer.json()["images"]) < 300


@pytest.mark.heavy
def test_memory_that_runs_out_has_a1111s_name_and_our_advice(tmp_path: Path) -> None:
    limited = {"SDTERM_DEVICE": "cpu", "SDTERM_LIMIT_MEMORY": "20MB", "SDTERM_LADDER": "off"}
    with running(tmp_path / "data", SDTERM_API="true", SDTERM_PORT=str(free_port()), **limited) as it:
        answer = httpx.post(f"http://127.0.0.1:{it.settings['port']}/sdapi/v1/txt2img", json=LONG, timeout=300)
    said = answer.json()
    assert (answer.status_code, said["error"], said["detail"], said["body"]) == (500, "OutOfMemoryError", "", "")
    assert "Out of memory" in said["errors"] and "smaller image size" in said["errors"]

"""How answers reach their clients: once or again, now or later, also after a crash, and what becomes of a job whose
client hangs up."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from sdterm.api import JobView, Submission
from sdterm.core.output.saving import Saving
from sdterm.events import Cancelled, Step
from sdterm.host.sdapi import kept
from sdterm.host.sdapi.delivery import KEPT, Deliveries
from sdterm.host.sdapi.kept import KeptRequests
from sdterm.host.sdapi.replies import Reply
from sdterm.host.services import HostServices
from sdterm.request import make_request
from tests.host.conftest import opened_files
from tests.host.running import Running, running, wait_until
from tests.host.sdapi.test_app import free_port

SMALL = {"prompt": "lake", "steps": 2, "width": 64, "height": 64, "seed": 1}
TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture
def host(api_host: Running) -> Running:
    return api_host


@pytest.fixture
def api(host: Running) -> Iterator[httpx.Client]:
    with client_of(host) as client:
        yield client


def client_of(host: Running) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{host.settings['port']}", timeout=300)


def key(text: str, **more: str) -> dict[str, str]:
    return {"Idempotency-Key": text, **more}


def jobs(host: Running) -> list[JobView]:
    return list(host.client.jobs(limit=500).jobs)


@contextmanager
def paused(host: Running) -> Iterator[None]:
    """Nothing begins meanwhile."""
    host.client.pause_queue()
    try:
        yield
    finally:
        host.client.resume_queue()


def test_the_same_request_with_the_same_key_is_one_job_with_one_answer(api: httpx.Client, host: Running) -> None:
    before, pictures = len(jobs(host)), host.client.pictures().total
    first = api.post(TXT2IMG, json=SMALL, headers=key("one"))
    again = api.post(TXT2IMG, content=json.dumps(dict(reversed(SMALL.items())), indent=4), headers=key("one"))
    assert first.status_code == 200 == again.status_code and first.content == again.content
    assert first.headers["x-job-id"] == again.headers["x-job-id"]
    assert len(jobs(host)) == before + 1
    assert host.client.pictures().total == pictures, "the images are for the answer alone"
    unkeyed = api.post(TXT2IMG, json=SMALL)
    assert unkeyed.json()["images"] == first.json()["images"]
    assert int(unkeyed.headers["x-job-id"]) == int(first.headers["x-job-id"]) + 1


def test_two_at_once_with_one_key_are_one_job(api: httpx.Client, host: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        with paused(host):
            before = len(jobs(host))
            asking = [pool.submit(api.post, TXT2IMG, json=SMALL, headers=key("two")) for _ in range(8)]
            wait_until(lambda: len(jobs(host)) > before)
        answers = [each.result() for each in asking]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1 == len({answer.headers["x-job-id"] for answer in answers})
    assert len(jobs(host)) == before + 1


def test_a_key_of_another_request_is_refused_and_one_of_a_refused_request_is_still_new(
    api: httpx.Client, host: Running
) -> None:
    refused = api.post(TXT2IMG, json=SMALL | {"width": 99999}, headers=key("three"))
    assert refused.status_code == 500 and "width" in refused.json()["errors"] and "x-job-id" not in refused.headers
    assert api.post(TXT2IMG, json=SMALL, headers=key("three")).status_code == 200
    other = api.post(TXT2IMG, json=SMALL | {"seed": 2}, headers=key("three"))
    assert other.status_code == 422 and "Idempotency-Key" in other.json()["detail"]
    assert other.json().keys() == {"error", "detail", "body", "errors"}
    assert api.post(TXT2IMG, json=SMALL, headers=key("x" * 256)).status_code == 422
    answers = host.settings.root / "run" / "answers"
    assert all((folder / "answer.json").exists() for folder in answers.iterdir())


def test_whoever_does_not_wait_fetches_the_answer_later(api: httpx.Client, host: Running) -> None:
    with paused(host):
        later = api.post(TXT2IMG, json=SMALL, params={"wait": "false"})
        assert later.status_code == 202 and later.json()["state"] == "queued"
        place = later.headers["location"]
        assert place == f"/sdapi/v1/jobs/{later.headers['x-job-id']}"
        assert api.get(place).status_code == 202
    wait_until(lambda: api.get(place).status_code == 200)
    answer = api.get(place)
    assert answer.json()["images"] == api.post(TXT2IMG, json=SMALL).json()["images"]
    assert answer.json()["parameters"]["seed"] == 1 and answer.headers["x-job-id"] == later.headers["x-job-id"]
    assert api.get("/sdapi/v1/jobs/999999").status_code == 404
    assert api.get(f"/sdapi/v1/jobs/{int(later.headers['x-job-id']) + 1}").status_code == 404, "that one was waited for"


def test_all_routes_that_draw_take_a_key(api: httpx.Client, host: Running) -> None:
    (image,) = api.post(TXT2IMG, json=SMALL).json()["images"]
    asked: dict[str, dict[str, Any]] = {
        "img2img": SMALL | {"init_images": [image], "denoising_strength": 0.5},
        "extra-single-image": {"image": image, "upscaler_1": "Nearest"},
        "extra-batch-images": {"imageList": [{"data": image, "name": "a"}], "upscaler_1": "Nearest"},
    }
    for route, body in asked.items():
        before = len(jobs(host))
        first, again = (api.post(f"/sdapi/v1/{route}", json=body, headers=key("all")) for _ in range(2))
        if route != "img2img":  # the key is img2img's
            assert first.status_code == 422
            first, again = (api.post(f"/sdapi/v1/{route}", json=body, headers=key(route)) for _ in range(2))
        assert first.status_code == 200 and first.content == again.content, first.text
        assert len(jobs(host)) == before + 1


def test_a_job_that_fails_is_named_and_fails_again_for_whoever_asks_again(api: httpx.Client) -> None:
    body = SMALL | {"override_settings": {"sd_vae_decode_method": "TAESD"}}
    first, again = (api.post(TXT2IMG, json=body, headers=key("fails")) for _ in range(2))
    assert first.status_code == 500 == again.status_code and first.json() == again.json()
    assert first.headers["x-job-id"] == again.headers["x-job-id"]


def test_an_answer_that_is_kept_sends_images_without_infotexts_where_the_request_says_so(api: httpx.Client) -> None:
    body = SMALL | {"override_settings": {"enable_pnginfo": False}}
    (plain,) = api.post(TXT2IMG, json=body).json()["images"]
    assert b"parameters" not in base64.b64decode(plain)
    assert api.post(TXT2IMG, json=body, headers=key("plain")).json()["images"] == [plain]


@contextmanager
def asking(host: Running, **headers: str) -> Iterator[None]:
    """A client that has asked and waits, until it hangs up."""
    content = json.dumps(SMALL).encode()
    lines = ["POST /sdapi/v1/txt2img HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", host.settings["port"])) as line:
        line.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        yield


def next_job(host: Running, before: int) -> int:
    """The first job after that one, once it is there."""
    wait_until(lambda: jobs(host)[0].id > before)
    return before + 1


def state(host: Running, job: int) -> str:
    return host.client.job(job).state


CANCEL = {"X-Cancel-On-Disconnect": "1"}


def test_a_client_that_says_so_cancels_its_job_by_hanging_up(api: httpx.Client, host: Running) -> None:
    last = int(api.post(TXT2IMG, json=SMALL).headers["x-job-id"])
    with paused(host):
        with asking(host):
            silent = next_job(host, last)
        with asking(host, **CANCEL):
            cancelled = next_job(host, silent)
        wait_until(lambda: state(host, cancelled) == "cancelled")
        assert state(host, silent) == "queued"


def test_as_long_as_somebody_waits_the_job_goes_on(api: httpx.Client, host: Running) -> None:
    last = int(api.post(TXT2IMG, json=SMALL).headers["x-job-id"])
    with ThreadPoolExecutor(1) as pool:
        with paused(host):
            staying = pool.submit(api.post, TXT2IMG, json=SMALL, headers=key("shared") | CANCEL)
            shared = next_job(host, last)
            with asking(host, **key("shared"), **CANCEL), client_of(host) as other:
                for _ in range(5):  # by then it was read
                    other.get("/sdapi/v1/samplers")
            with asking(host, **CANCEL):
                alone = next_job(host, shared)
            wait_until(lambda: state(host, alone) == "cancelled")
            assert state(host, shared) == "queued"
        assert staying.result().status_code == 200


@pytest.mark.heavy
@pytest.mark.parametrize("who", ["host", "worker"])
def test_a_crash_in_the_middle_loses_neither_the_job_nor_its_answer(who: str, tmp_path: Any) -> None:
    with running(tmp_path / "data", SDTERM_API="true", SDTERM_PORT=str(free_port())) as host:
        body = SMALL | {"steps": 60, "n_iter": 3}
        with client_of(host) as api, ThreadPoolExecutor(2) as pool:
            undisturbed = api.post(TXT2IMG, json=body).json()["images"]
            first = host.client.health().last_event
            dying = pool.submit(api.post, TXT2IMG, json=body, headers=key("crash"))
            later = api.post(TXT2IMG, json=SMALL, params={"wait": "false"}).headers["x-job-id"]
            job = next(e.job for e in host.client.events(after=first) if isinstance(e.event, Step) and e.event.step > 5)
            assert job
            if who == "worker":
                host.worker.kill()
                assert dying.result().json()["images"] == undisturbed
            else:
                host.kill_host()
                with pytest.raises(httpx.RemoteProtocolError):
                    dying.result()
                host.again()
        with client_of(host) as api:
            again = api.post(TXT2IMG, json=body, headers=key("crash"))
            assert again.json()["images"] == undisturbed and again.headers["x-job-id"] == str(job)
            wait_until(lambda: api.get(f"/sdapi/v1/jobs/{later}").status_code == 200)
        assert host.client.pictures().total == 0


def test_the_next_host_makes_the_answers_that_are_missing_and_reads_no_others(services: HostServices) -> None:
    """In this process: nothing is drawn."""
    requests = KeptRequests(services.database, services.run_folder.answers)

    def ended(name: str) -> Path:
        folder = requests.folder / name
        kept.write_reply(folder, Reply("caption"))
        note = partial(requests.add, name, "digest", folder)
        job = services.jobs.submit(Submission(request=make_request(prompt="x")), Saving(folder), along=note)
        services.jobs.end(job, "cancelled", Cancelled(images=0))
        return folder

    made, missing = ended("made"), ended("missing")
    kept.write_answer(made, b"large")
    before = len(opened_files())

    async def begin() -> None:
        looking = asyncio.create_task(Deliveries(services, clock=lambda: 1000.0).look_after())
        async with asyncio.timeout(60):
            while [*missing.iterdir()] != [missing / "answer.json"]:
                await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(begin())
    opened = opened_files()[before:]
    assert str(missing / "reply.json") in opened and str(made / "answer.json") not in opened


def test_old_answers_go(services: HostServices) -> None:
    """In this process: nothing is drawn."""
    deliveries = Deliveries(services, clock=lambda: 1000 + KEPT + 1)
    requests = KeptRequests(services.database, services.run_folder.answers)

    def asked(name: str) -> int:
        folder = requests.folder / name
        kept.write_reply(folder, Reply("images", {"a": "\ud800"}))
        submission = Submission(request=make_request(prompt="x"))
        return services.jobs.submit(
            submission, Saving(folder), along=lambda job: requests.add(name, "digest", folder, job)
        )

    old, waiting = asked("old"), asked("waiting")
    services.jobs.end(old, "cancelled", Cancelled(images=0))  # at 1000 s
    assert kept.read_reply(requests.folder / "old").parameters == {"a": "\ud800"}
    asyncio.run(deliveries.sweep())
    assert requests.job("old", "digest") is None and requests.job("waiting", "digest") == waiting
    with pytest.raises(kept.UsedKeyError):
        requests.job("waiting", "another digest")
    assert requests.folder_of(old) is None

"""`/v1` against bad input: a 4xx with the field and a sentence, nothing kept, and the host goes on."""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from sdterm.api import STATES
from sdterm.client import Client
from sdterm.core.settings.rundir import RunFolder, make_private, run_folder_of
from sdterm.events import Failed, Grid, Image
from sdterm.host.services import HostServices
from sdterm.host.v1.app import MOST_BYTES, make_app
from tests.host.conftest import settings_of, submission

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def http(host: Client) -> Iterator[httpx.Client]:
    """The host without its typed client, which sends nothing wrong."""
    transport = httpx.HTTPTransport(uds=str(run_folder_of(Path(host.health().data)).socket))
    with httpx.Client(transport=transport, base_url="http://sdterm/v1", timeout=60) as client:
        yield client


def body(**fields: Any) -> dict[str, Any]:
    return {"request": {"prompt": "a house", **fields}}


def saving(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    return {**body(), "saving": {"folder": str(tmp_path), **fields}}


def problem(answer: httpx.Response, status: int) -> tuple[str | None, str]:
    """The field and the sentence of a refusal."""
    assert answer.status_code == status, answer.text[:300]
    told = answer.json()
    assert set(told) - {"texts"} == {"code", "message", "field"}
    message = told["message"]
    assert message[-1] in ".?" and message[0].isprintable() and "\n" not in message and len(message) < 600
    assert not re.search(r"Traceback|File \"|Value error|\x1b", message)
    return told["field"], message


REQUESTS: list[tuple[dict[str, Any], str, str]] = [
    (body(bogus=1), "request.bogus", "no field 'bogus'"),
    ({**body(), "bogus": 1}, "bogus", "not permitted"),
    ({}, "request", "required"),
    ({"request": {}}, "request.prompt", "missing"),
    ({"request": 5}, "request", "dictionary"),
    (body(steps="many"), "request.steps", "a whole number from 1 to 1000"),
    (body(steps=0), "request.steps", "a whole number from 1 to 1000"),
    (body(steps=True), "request.steps", "steps is True, but it must be a whole number from 1 to 1000"),
    (body(width="64"), "request.width", "width is the text '64', but it must be a multiple of 8 from 64 to 4096"),
    (body(cfg_scale="7"), "request.cfg_scale", "cfg_scale is the text '7', but it must be a number from -100 to 100"),
    (body(grid="true"), "request.grid", "grid is the text 'true', but it must be true or false"),
    (body(quantize=1), "request.quantize", "quantize is 1, but it must be true or false"),
    (body(seed="5"), "request.seed", "seed is the text '5'"),
    (body(extra_params={"a": True}), "request.extra_params.a", "extra_params"),
    ({**body(), "paused": 1}, "paused", "boolean"),
    ({**body(), "pause_at": "5"}, "pause_at", "integer"),
    (body(steps=2.5), "request.steps", "a whole number from 1 to 1000"),
    (body(width=-64), "request.width", "a multiple of 8 from 64 to 4096"),
    (body(width=10**9), "request.width", "a multiple of 8 from 64 to 4096"),
    (body(height=10**40), "request.height", "a multiple of 8 from 64 to 4096"),
    (body(width=511), "request.width", "a multiple of 8"),
    (body(batch_size=10**6), "request.batch_size", "from 1 to 64"),
    (body(batch_count=-1), "request.batch_count", "from 1 to 1000"),
    (body(seed=2**63), "request.seed", "whole number"),
    (body(cfg_scale=float("nan")), "request.cfg_scale", "a number from -100 to 100"),
    (body(cfg_scale=float("inf")), "request.cfg_scale", "a number from -100 to 100"),
    (body(prompt=None), "request.prompt", "prompt is None, but it must be text"),
    (body(prompt="x" * 70_000), "request.prompt", "70,000 characters"),
    (body(prompt="a \x1b[31mred house"), "request.prompt", "control character U+001B"),
    (body(negative_prompt="\ud800"), "request.negative_prompt", "must be text"),
    (body(sampler="\ud800"), "request.sampler", "Unicode"),
    (body(extra_params={"a": 5}), "request.extra_params.a", "extra_params"),
    (body(sampler="Euler b"), "request.sampler", "Did you mean 'Euler a'"),
    (body(sampler="\x1b]0;title\x07"), "request.sampler", "There is no sampler named"),
    (body(scheduler="Karas"), "request.scheduler", "Did you mean 'Karras'"),
    (body(model="sdterm-demoo"), "request.model", "Did you mean 'sdterm-demo'"),
    (body(model="../../etc/passwd"), "request.model", "There is no model named"),
    (body(styles=["no such"]), "request.styles", "There is no style named 'no such'"),
    (body(format="pngg"), "request.format", "Did you mean 'PNG'"),
    (body(memory=["slicedd"]), "request.memory", "Did you mean 'Sliced attention'"),
    (body(transforms=["commentz"]), "request.transforms", "Did you mean 'Comments'"),
    (body(postprocess=["blur"]), "request.postprocess", "There is no postprocessor named 'blur'"),
    (body(options={"ratio": 1}), "request.options", "must look like 'token_merging.ratio'"),
    (body(options={"merging.ratio": 1}), "request.options", "There is no part named 'merging'"),
    (body(options={"comments.x": 1}), "request.options", "has no option 'x'"),
    (body(sampler_options={"etta": 1}), "request.sampler_options", "has no option 'etta'"),
    (body(sampler="Euler a", sampler_options={"eta": 7}), "request.sampler_options", "from 0.0 to 1.0"),
    (body(sampler="Euler a", sampler_options={"eta": float("nan")}), "request.sampler_options", "from 0.0 to 1.0"),
    (body(sampler="Euler a", sampler_options={"eta": 10**400}), "request.sampler_options", "from 0.0 to 1.0"),
    (body(scheduler="Karras", scheduler_options={"sigma": 1}), "request.scheduler_options", "has no option"),
    (body(format_options={"quality": 5}), "request.format_options", "has no option 'quality'"),
    ({**body(), "pause_at": 0}, "pause_at", "greater than or equal to 1"),
    ({**body(), "pause_at": 10**30}, "pause_at", "1000"),
    ({**body(), "paused": "perhaps"}, "paused", "boolean"),
    ({**body(), "saving": 5}, "saving", "dictionary"),
    ({**body(), "saving": {}}, "saving.folder", "required"),
    ({**body(), "saving": {"folder": "outputs"}}, "saving", "use an absolute path"),
    ({**body(), "saving": {"folder": "/dev/null/x"}}, "saving.folder", "cannot be saved in /dev/null/x"),
    ({**body(), "saving": {"folder": "/proc/x"}}, "saving.folder", "cannot be saved in /proc/x"),
    ({**body(), "saving": {"folder": "/" + "x" * 300}}, "saving.folder", "cannot be saved"),
    ({**body(), "saving": {"folder": "/a\0b"}}, "saving", "characters that no path can have"),
    ({**body(), "saving": {"folder": "/\ud800"}}, "saving", "characters that no path can have"),
]


@pytest.mark.parametrize(("sent", "field", "said"), REQUESTS, ids=[f"{f}-{n}" for n, (_, f, _) in enumerate(REQUESTS)])
def test_a_bad_submission_is_refused_with_its_field(
    http: httpx.Client, sent: dict[str, Any], field: str, said: str
) -> None:
    before = http.get("queue").json()
    found, message = problem(http.post("jobs", content=json.dumps(sent), headers=JSON), 422)
    assert found == field and said in message
    assert http.get("queue").json() == before


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"directory_pattern": "[number]"}, "saving", "only files have numbers"),
        ({"directory_pattern": "a/" * 200}, "saving", "folders"),
        ({"filename_pattern": "x" * 10_000}, "saving", "4096 characters"),
        ({"filename_pattern": "\ud800"}, "saving", "4096 characters"),
        ({"last_infotext": "params.txt"}, "saving", "use an absolute path"),
        ({"bogus": 1}, "saving.bogus", "Unexpected"),
        ({"add_number": "perhaps"}, "saving.add_number", "boolean"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_ways_to_save_are_refused(
    http: httpx.Client, tmp_path: Path, fields: dict[str, Any], field: str, said: str
) -> None:
    found, message = problem(http.post("jobs", content=json.dumps(saving(tmp_path, **fields)), headers=JSON), 422)
    assert found == field and said in message


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (b"", 422, "required"),
        (b"null", 422, "required|JSON object"),
        (b"[]", 422, "JSON object"),
        (b'"text"', 422, "JSON object"),
        (b"{", 422, "not JSON"),
        (b"\xff\xfe\x00", 400, "not JSON"),
        (b'{"request": {"prompt": "\xff"}}', 400, "not JSON"),
        ('{"request": {"prompt": "a house"}}'.encode("utf-16"), 400, "not JSON .* UTF-8"),
        ('{"request": {"prompt": "a house"}}'.encode("utf-16-le"), 400, "not JSON .* UTF-8"),
        ('{"request": {"prompt": "a house"}}'.encode("utf-32-be"), 400, "not JSON .* UTF-8"),
        (b'{"request": {"prompt": "a", "cfg_scale": 1e999}}', 422, "a number from -100 to 100"),
        (b'{"request": {"prompt": "a", "seed": ' + b"9" * 5000 + b"}}", 400, "thousands of digits"),
        (b"[" * 500_000, 400, "nested too deeply"),
        (b'{"request":' * 100_000, 400, "nested too deeply"),
        (b'{"request": {"prompt": "a", "extra_params": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}}", 422, "extra_params"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, text: bytes, status: int, said: str) -> None:
    _, message = problem(http.post("jobs", content=text, headers=JSON), status)
    assert re.search(said, message)


def test_a_body_of_another_type_is_refused(http: httpx.Client) -> None:
    answer = http.post("jobs", content=json.dumps(body()), headers={"content-type": "text/plain"})
    assert "application/json" in problem(answer, 422)[1]


def test_a_large_body_is_refused_whatever_it_says_of_its_length(http: httpx.Client, host: Client) -> None:
    large = b'{"request":{"prompt":"' + b"x" * 10_000_000 + b'"}}'
    assert str(MOST_BYTES) in problem(http.post("jobs", content=large, headers=JSON), 413)[1]
    chunked = (large[start : start + 100_000] for start in range(0, len(large), 100_000))
    assert str(MOST_BYTES) in problem(http.post("jobs", content=chunked, headers=JSON), 413)[1]
    assert host.queue().paused, "it answers"


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"many", b"0x10", b"9" * 30, b"3, 5"])
def test_a_body_with_a_wrong_length_is_refused_before_it_comes(host: Client, length: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(run_folder_of(Path(host.health().data)).socket))
        head = b"POST /v1/jobs HTTP/1.1\r\nHost: sdterm\r\nContent-Type: application/json\r\nContent-Length: "
        raw.sendall(head + length + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (400|413) ", raw.recv(1000))


@pytest.mark.parametrize(
    ("address", "status", "field"),
    [
        ("jobs/0", 422, "job"),
        ("jobs/-1", 422, "job"),
        ("jobs/one", 422, "job"),
        (f"jobs/{2**63}", 422, "job"),
        ("jobs/" + "9" * 5000, 422, "job"),
        ("jobs/999999", 404, None),
        ("jobs?limit=0", 422, "limit"),
        ("jobs?limit=501", 422, "limit"),
        ("jobs?limit=x", 422, "limit"),
        ("jobs?cursor=x", 422, "cursor"),
        ("jobs?cursor=1.5", 422, "cursor"),
        ("jobs?cursor=1,", 422, "cursor"),
        (f"jobs?cursor=1,{2**63}", 422, "cursor"),
        ("jobs?cursor=1,-4", 422, "cursor"),
        ("jobs?state=queued&cursor=-", 422, "cursor"),
        ("jobs?state=queued&cursor=" + "1" * 100, 422, "cursor"),
        ("jobs?state=bogus", 422, "state.0"),
        ("jobs?" + "&".join(["state=done"] * 11), 422, "state"),
        ("jobs?stat=done", 422, "stat"),
        ("jobs?%1b[31m=1", 422, "�[31m"),
        ("events?after=-1", 422, "after"),
        (f"events?after={2**63}", 422, "after"),
        ("events?job=0", 422, "job"),
        ("events?previews=perhaps", 422, "previews"),
        ("pictures?cursor=1.5", 422, "cursor"),
        (f"pictures?cursor={2**63}", 422, "cursor"),
        ("pictures?order=colour", 422, "order"),
        ("pictures?order=seed&cursor=1,NaN", 422, "cursor"),
        ('pictures?order=prompt&cursor=1,"%5Cud800"', 422, "cursor"),
        ("pictures?order=seed&cursor=1," + "9" * 400, 422, "cursor"),
        ("pictures?q=" + "x" * 1001, 422, "q"),
        ("pictures/1/file", 404, None),
        ("pictures/1/thumbnail?size=15", 422, "size"),
        ("nowhere", 404, None),
        ("../v2", 404, None),
        ("jobs/1/cancel", 405, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_address_is_refused_with_its_field(
    http: httpx.Client, address: str, status: int, field: str | None
) -> None:
    assert problem(http.get(address), status)[0] == field


@pytest.mark.parametrize("query", ['"', "a AND", "NEAR(", '"col:"', "*", "\0", "''; DROP TABLE jobs", "日本 \ufffe"])
def test_a_search_is_for_words_whatever_they_look_like(host: Client, query: str) -> None:
    assert host.pictures(query).pictures == ()


def test_what_cannot_be_done_in_a_jobs_state_is_a_conflict(http: httpx.Client, host: Client) -> None:
    queued, paused, cancelled = (host.submit(submission()).id for _ in range(3))
    host.pause(paused)
    host.cancel(cancelled)
    for job, operations in (
        (queued, ("resume", "retry")),
        (paused, ("pause", "retry", "move")),
        (cancelled, ("cancel", "pause", "resume", "retry", "move")),
    ):
        for operation in operations:
            answer = http.post(f"jobs/{job}/{operation}", content=b"{}", headers=JSON)
            assert f"Job {job} is " in problem(answer, 409)[1]
    assert f"Job {paused} is paused" in problem(http.post(f"jobs/{queued}/move", json={"before": paused}), 409)[1]
    assert problem(http.post(f"jobs/{queued}/move", json={"before": 0}), 422)[0] == "before"
    assert problem(http.post(f"jobs/{queued}/move", json={"before": 999_999}), 404)[1] == "There is no job 999999."
    assert problem(http.post(f"jobs/{paused}/resume", json={"images": [0, 7]}), 422)[0] == "images"
    assert problem(http.post(f"jobs/{paused}/resume", json={"images": [-1]}), 422)[0] == "images.0"
    assert problem(http.post(f"jobs/{queued}/pause", json={"at_step": 0}), 422)[0] == "at_step"
    assert problem(http.post("queue/stop"), 422)[0] == "what"


@pytest.mark.parametrize(
    ("how", "field", "said"),
    [
        (
            {"steps": 9},
            "steps",
            "A retry cannot change steps; it can change memory, batch_size, batch_cond_uncond, ladder, rungs, "
            "precision.",
        ),
        ({"memory": ["sliced"], "width": 64}, "width", "A retry cannot change width"),
        ({"bogus": 1}, "bogus", "bogus"),
        ({"batch_size": 2}, "batch_size", "can only be split into batches of 1."),
        ({"batch_size": 0}, "batch_size", "batch_size"),
        ({"precision": "double"}, "precision", "precision"),
        ({"memory": ["slices"]}, "memory", "no memory optimizer named 'slices'. Did you mean 'Sliced attention'"),
    ],
)
def test_a_retry_that_would_change_the_picture_is_refused_by_the_fields_name(
    failed: str, how: dict[str, Any], field: str, said: str
) -> None:
    told = problem(httpx.post(f"{failed}/retry", json=how, timeout=60), 422)
    assert told[0] == field and said in told[1]
    assert httpx.get(failed).json()["state"] == "failed"


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a job that failed."""
    run_folder = run_folder_of(tmp_path_factory.mktemp("failed"))
    make_private(run_folder)
    with Served(run_folder) as served:
        yield f"{served.url}/v1/jobs/{STATES.index('failed') + 1}"


# --- fuzzing --------------------------------------------------------------------------------------------------------


class Served:
    """The application on a port of its own, with nothing that draws: jobs stay as they are put."""

    def __init__(self, run_folder: RunFolder) -> None:
        self._run_folder, self._up = run_folder, threading.Event()
        self.url = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    async def _serve(self) -> None:
        services = HostServices(settings_of(self._run_folder.folder.parent, device="cpu"), self._run_folder)
        _one_of_each(services)
        config = uvicorn.Config(make_app(services, lambda: None), lifespan="off", log_config=None, ws="none")
        self._server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._up.set()
            await self._server.serve(sockets=[listening])
        services.database.close()


def _one_of_each(services: HostServices) -> None:
    """A job in every state, and pictures of which one file is gone."""
    for state in STATES:
        job = services.jobs.submit(submission(paused=state == "paused"), services.saving())
        if state not in ("queued", "paused"):
            with services.database.transaction():
                services.database.execute("UPDATE jobs SET state = 'running' WHERE id = ?", job)
        if state == "failed":
            services.jobs.end(job, state, Failed(code="nan", message="It is black."))
        elif state in ("done", "waiting", "cancelled"):
            with services.database.transaction():
                services.database.execute("UPDATE jobs SET state = ? WHERE id = ?", state, job)
    facts = {"width": 64, "height": 64, "infotext": "a house", "data": b"no picture", "suffix": ".png"}
    for number, there in ((0, True), (1, False)):
        path = services.run_folder.folder / f"{number}.png"
        if there:
            path.write_bytes(b"no picture")
        image = Image(**facts, index=number, seed=2**63 + number)
        services.pictures.reserve(1, image, path)
        services.pictures.commit(1, image.model_copy(update={"path": str(path)}))
    grid = Grid(**facts)
    services.pictures.reserve(1, grid, services.run_folder.folder / "0.png")
    services.pictures.commit(1, grid)


ENDLESS = ("/v1/events", "/v1/stop")
NAMES = ("sampler", "scheduler", "model", "format", "memory", "sampler_options", "scheduler_options", "format_options")
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("examples", [5, pytest.param(300, marks=pytest.mark.heavy)])
def test_nothing_that_the_schema_allows_or_forbids_breaks_the_host(tmp_path: Path, examples: int) -> None:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    with Served(run_folder) as served:
        schema = schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json")

        @schema.hook
        def map_body(context: Any, body: Any) -> Any:
            """Folders are tried by making them: below a folder of this test. Every other request names nothing that
            a random text could not name."""
            if not isinstance(body, dict):
                return body
            if isinstance(saving := body.get("saving"), dict) and isinstance(folder := saving.get("folder"), str):
                within = "".join(c for c in folder if c not in "./")
                body = {**body, "saving": {**saving, "folder": f"{tmp_path}/out/{within}"}}
            if isinstance(request := body.get("request"), dict) and len(str(request.get("prompt"))) % 2:
                body = {**body, "request": {key: value for key, value in request.items() if key not in NAMES}}
            return body

        @schema.hook
        def map_path_parameters(context: Any, path_parameters: Any) -> Any:
            """Jobs and pictures that are there, for the most part."""
            return {
                key: value % 10 + 1 if type(value) is int and 0 < value < 2**63 else value
                for key, value in (path_parameters or {}).items()
            }

        found: Any = schema.get_all_operations()
        operations = [operation.ok() for operation in found]
        fuzzed = [operation for operation in operations if operation.path not in ENDLESS]
        assert len(operations) - len(fuzzed) == len(ENDLESS) and len(fuzzed) > 20
        for operation in fuzzed:
            for mode in schemathesis.GenerationMode:
                _fuzz(operation, mode, examples)
        assert httpx.get(f"{served.url}/v1/health").is_success


def _fuzz(operation: Any, mode: schemathesis.GenerationMode, examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_it(case: Any) -> None:
        answer = case.call(timeout=30)
        if answer.status_code in (503, 507):
            return
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400 and case.method != "HEAD":
            assert set(answer.json()) - {"texts"} == {"code", "message", "field"}

    with contextlib.suppress(Unsatisfiable):  # nothing is wrong where nothing can be given
        try_it()

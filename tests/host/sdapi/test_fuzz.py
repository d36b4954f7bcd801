"""Whatever is sent to A1111's API gets an answer in A1111's shape: nothing breaks, and nothing is a defect."""

import asyncio
import base64
import json
import logging
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.host.sdapi.app import make_sdapi
from sdterm.host.sdapi.values import IMG2IMG, OPTIONS, TXT2IMG
from sdterm.host.services import HostServices
from tests.host.conftest import settings_of
from tests.host.sdapi.test_fetching import png

ERROR = {"error", "detail", "body", "errors"}
DEFECTS = {
    *("TypeError", "ValueError", "AttributeError", "IndexError", "UnicodeEncodeError", "RecursionError", "OSError"),
    *("OverflowError", "ValidationError", "PydanticSerializationError", "OperationalError", "ZeroDivisionError"),
}
"""Classes whose names would tell that something raised what nobody had thought of."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application on a port of its own, with nothing that draws: jobs stay as they are put."""
    root = tmp_path_factory.mktemp("fuzz")
    up = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        make_private(run_folder_of(root))
        services = HostServices(settings_of(root, device="cpu", api="true"), run_folder_of(root))
        config = uvicorn.Config(make_sdapi(services, lambda: None), lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            found.extend((server, f"http://127.0.0.1:{listening.getsockname()[1]}"))
            up.set()
            await server.serve(sockets=[listening])
        services.database.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(60)
    yield found[1]
    found[0].should_exit = True
    thread.join(60)


@pytest.fixture(autouse=True)
def no_defects(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The host logs what it had not thought of."""
    with caplog.at_level(logging.ERROR):
        yield
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def check(status: int, text: str) -> None:
    """An answer of A1111's kind: no traceback, and a 5xx only where its clients expect one."""
    assert "Traceback" not in text
    if status < 400:
        return
    told = json.loads(text)
    assert told.keys() in (ERROR, {"detail"})
    if status == 422 and told.keys() == {"detail"}:
        assert all({"loc", "msg", "type"} <= wrong.keys() for wrong in told["detail"])
    if status >= 500:
        assert status == 500 and told.keys() == ERROR and told["error"] not in DEFECTS, text[:500]
        assert told["detail"] or told["errors"]


def bomb() -> bytes:
    """A PNG of 60,000 by 60,000 pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = (60000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


PICTURES = st.sampled_from(
    [
        base64.b64encode(png()).decode(),
        f"data:image/png;base64,{base64.b64encode(png()).decode()}",
        base64.b64encode(png()[:60]).decode(),
        base64.b64encode(bomb()).decode(),
        *("", "data:image/png;base64,", "bm90IGEgcGljdHVyZQ==", "?", "/etc/passwd", "http://127.0.0.1:9/x.png"),
    ]
)
NUMBERS = st.sampled_from(
    [0, -1, 1, 7, 64, 10**9, 2**31, 2**63, -(2**70), 0.5, 4.7, -0.0, 1e308, float("inf"), float("nan")]
)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["4", "true", "Euler a", "None", "\x1b[31m", "\ud800", "x" * 70_000, "\u202e"]),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, PICTURES)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
SMALL = {"prompt": "lake", "width": 64, "height": 64, "steps": 1}


def bodies(table: Any, **likely: Any) -> st.SearchStrategy[Any]:
    """A body that is all right but for some of its fields."""
    some = st.dictionaries(st.sampled_from(sorted(table)), VALUES, min_size=1, max_size=4)
    sound = st.fixed_dictionaries({}, optional={name: value for name, value in likely.items()})
    return st.one_of(st.tuples(sound, some).map(lambda pair: SMALL | pair[0] | pair[1]), VALUES)


EXTRAS = ("image", "imageList", "upscaler_1", "upscaler_2", "resize_mode", "upscaling_resize", "upscaling_resize_w")
INITS = st.lists(PICTURES, min_size=1, max_size=2)
ROUTES: dict[str, st.SearchStrategy[Any]] = {
    "/sdapi/v1/txt2img": bodies(TXT2IMG, firstpass_image=PICTURES),
    "/sdapi/v1/img2img": bodies(IMG2IMG, init_images=INITS, mask=PICTURES),
    "/sdapi/v1/extra-single-image": bodies(EXTRAS, image=PICTURES),
    "/sdapi/v1/extra-batch-images": bodies(
        EXTRAS, imageList=st.lists(st.fixed_dictionaries({"data": PICTURES, "name": WORDS}))
    ),
    "/sdapi/v1/interrogate": bodies(("image", "model"), image=PICTURES),
    "/sdapi/v1/png-info": bodies(("image",), image=PICTURES),
    "/sdapi/v1/options": bodies([name for name in OPTIONS if "dir" not in name]),
}


@pytest.mark.heavy
@pytest.mark.parametrize("route", ROUTES)
def test_a_body_with_wrong_values_is_refused_by_name_or_queued(route: str, url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as api:

        @settings(
            max_examples=400, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(body=ROUTES[route])
        def send(body: Any) -> None:
            content = json.dumps(body).encode()
            answer = api.post(route, content=content, params={"wait": "false"})
            check(answer.status_code, answer.text)

        send()
        assert api.get("/sdapi/v1/samplers").is_success


@pytest.mark.heavy
def test_nothing_that_the_schema_allows_or_forbids_breaks_the_host(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    sent = 0

    @schema.hook
    def map_query(context: Any, query: Any) -> Any:
        """Nothing is drawn here, so nothing is waited for."""
        return query if context.operation.method == "get" else {**(query or {}), "wait": "false"}

    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        """Settings may name folders: none outside of this test's."""
        if isinstance(body, dict) and context.operation.path.endswith("/options"):
            return {name: value for name, value in body.items() if "dir" not in name}
        return body

    found: Any = schema.get_all_operations()
    operations = [operation.ok() for operation in found]
    assert len(operations) > 20
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=100, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                nonlocal sent
                sent += 1
                answer = case.call(timeout=60)
                check(answer.status_code, answer.text)
                if case.operation.path != "/internal/sysinfo":  # text, though A1111's own document says JSON
                    case.validate_response(answer, checks=[checks.content_type_conformance])

            try:
                send()
            except Unsatisfiable:  # nothing is wrong where nothing can be given
                continue
    assert httpx.get(f"{url}/sdapi/v1/samplers").is_success
    assert sent > 2500

"""Inputs over HTTP: kept whole or not at all, as long as a job or a picture refers to them."""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from textwrap import dedent

import httpx2 as httpx
import pytest
from PIL import Image

from sdterm.client import Client
from sdterm.core.inputs import MOST_BYTES, Inputs
from sdterm.core.settings.rundir import run_folder_of
from sdterm.events import Cancelled, Done
from sdterm.host.inputs import GRACE
from sdterm.host.services import HostServices
from sdterm.host.v1.app import MOST_BYTES as MOST_JSON_BYTES
from tests.host.conftest import StartHost, submission
from tests.host.running import REPOSITORY, wait_until
from tests.host.test_api import problem
from tests.host.test_pictures import image


def png(shade: int = 0, size: tuple[int, int] = (16, 8)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def noisy(bytes_: int) -> bytes:
    """A picture's file of at least so many bytes."""
    side = int((bytes_ / 3) ** 0.5) + 1
    file = BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def http(host: Client) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(run_folder_of(Path(host.health().data)).socket))
    with httpx.Client(transport=transport, base_url="http://sdterm/v1", timeout=60) as client:
        yield client


@pytest.fixture
def folder(host: Client) -> Path:
    return Inputs(Path(host.health().data)).folder


@contextlib.contextmanager
def sending(host: Client, digest: str, size: int) -> Iterator[socket.socket]:
    """A connection on which an input of so many bytes is announced."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(run_folder_of(Path(host.health().data)).socket))
        line.sendall(f"PUT /v1/inputs/{digest} HTTP/1.1\r\nhost: sdterm\r\ncontent-length: {size}\r\n\r\n".encode())
        yield line


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_picture_is_sent_once_and_read_again(host: Client, http: httpx.Client, folder: Path) -> None:
    data = noisy(3 * MOST_JSON_BYTES)
    digest = host.put_input(data)
    assert digest == digest_of(data) and host.input(digest) == data
    assert (folder / digest).read_bytes() == data
    written = (folder / digest).stat().st_ino
    assert host.put_input(data) == digest and (folder / digest).stat().st_ino == written, "it was there already"
    head = http.head(f"inputs/{digest}")
    assert head.status_code == 200 and head.content == b""
    assert http.put(f"inputs/{digest}", content=data).status_code == 204, "sending it twice is no mistake"


def test_what_is_not_there_or_no_digest_is_told(http: httpx.Client) -> None:
    assert "no such input" in problem(http.get(f"inputs/{'a' * 64}"), 404)[1]
    assert http.head(f"inputs/{'a' * 64}").status_code == 404
    for wrong in ("a" * 63, "A" * 64, "..%2f" + "a" * 61):
        assert http.get(f"inputs/{wrong}").status_code in (404, 422)
        assert http.put(f"inputs/{wrong}", content=png()).status_code in (404, 422)
    assert problem(http.put(f"inputs/{'a' * 64}?size=5", content=png()), 422)[0] == "size"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<svg/>", "is not an image that sdterm can read"),
        (png(size=(1, 1))[:20] + b"\xff\xff" + png(size=(1, 1))[22:], "pixels|damaged|not an image"),
    ],
)
def test_what_is_no_picture_leaves_nothing(http: httpx.Client, folder: Path, data: bytes, said: str) -> None:
    before = sorted(os.listdir(folder)) if folder.exists() else []
    _, message = problem(http.put(f"inputs/{digest_of(data)}", content=data), 422)
    assert any(part in message for part in said.split("|")), message
    assert "changed on the way" in problem(http.put(f"inputs/{'b' * 64}", content=png(7)), 422)[1]
    assert sorted(os.listdir(folder)) == before


def test_too_many_bytes_are_refused_before_they_are_read(host: Client, http: httpx.Client) -> None:
    with sending(host, "c" * 64, MOST_BYTES + 1) as line:
        assert line.recv(12) == b"HTTP/1.1 413"
    with sending(host, "c" * 64, MOST_BYTES) as line:
        line.sendall(b"not a picture")
    assert problem(http.post("jobs", json={"request": {"prompt": "x" * MOST_JSON_BYTES}}), 413)


@pytest.mark.heavy
def test_too_many_bytes_of_unknown_length_end_at_the_limit(http: httpx.Client, folder: Path) -> None:
    chunks = (bytes(2**22) for _ in range(MOST_BYTES // 2**22 + 2))
    assert "more than" in problem(http.put(f"inputs/{'d' * 64}", content=chunks), 413)[1]
    assert not [name for name in os.listdir(folder) if name.startswith((".", "d" * 64))]


def test_a_connection_that_breaks_leaves_nothing(host: Client, folder: Path) -> None:
    data = noisy(2**21)
    with sending(host, digest_of(data), len(data)) as line:
        line.sendall(data[: 2**20 + 2**19])
        wait_until(lambda: [name for name in os.listdir(folder) if name.startswith(".sdterm-")])
    wait_until(lambda: not [name for name in os.listdir(folder) if name.startswith(".sdterm-")])
    assert not (folder / digest_of(data)).exists()
    assert host.put_input(data) == digest_of(data)


def test_two_who_send_the_same_at_the_same_time_both_have_it(http: httpx.Client, folder: Path) -> None:
    data = noisy(2**22)
    together = threading.Barrier(2)

    def slowly() -> Iterator[bytes]:
        yield data[: 2**21]
        together.wait(timeout=30)
        yield data[2**21 :]

    answers: list[int] = []

    def send() -> None:
        answers.append(http.put(f"inputs/{digest_of(data)}", content=slowly()).status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert answers == [204, 204]
    assert (folder / digest_of(data)).read_bytes() == data
    assert not [name for name in os.listdir(folder) if name.startswith(".sdterm-")]


def test_a_job_whose_picture_is_not_there_is_refused_with_the_field(http: httpx.Client) -> None:
    for fields, field in (
        ({"init_images": ["e" * 64]}, "request.init_images"),
        ({"init_images": ["e" * 64], "mask": "f" * 64}, "request.init_images"),
        ({"upscale_images": ["e" * 64]}, "request.upscale_images"),
    ):
        told, message = problem(http.post("jobs", json={"request": {"prompt": "a lake", **fields}}), 422)
        assert told == field and "names an image that does not exist here (eeeeeeeeeeee…). Upload it first." in message


def test_what_a_job_names_stays_and_goes_with_it(host: Client, folder: Path) -> None:
    digest, other = host.put_input(png(101)), host.put_input(png(102))
    job = host.submit(submission(init_images=(digest,))).id
    for name in (digest, other):
        os.utime(folder / name, (0, 0))
    host.empty_trash()  # inputs are swept with it
    assert (folder / digest).exists() and not (folder / other).exists()
    host.cancel(job)
    host.empty_trash()
    assert not (folder / digest).exists()


FULL_DISK = """
    import os, sys
    from pathlib import Path
    from sdterm.client import RefusedError
    from tests.host.running import running
    from tests.host.test_inputs import noisy, png

    data = Path(sys.argv[1])
    with running(data) as host:
        try:
            host.client.put_input(noisy(3 * 2**20))
        except RefusedError as error:
            assert error.status == 507 and "Free some space" in str(error), error
        else:
            raise AssertionError("accepted what cannot be kept")
        assert os.listdir(data / "inputs") == []
        host.client.put_input(png())
        print("all is well")
"""


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount namespace")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    data, script = tmp_path / "data", tmp_path / "full.py"
    (data / "inputs").mkdir(parents=True)
    script.write_text(dedent(FULL_DISK))
    inner = f"mount -t tmpfs -o size=2m none '{data}/inputs' && exec '{sys.executable}' '{script}' '{data}'"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=180,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.stdout == "all is well\n", done.stderr


def test_what_a_killed_host_left_half_sent_is_swept(tmp_path: Path, start_host: StartHost) -> None:
    folder = Inputs(tmp_path).folder
    folder.mkdir()
    torn = folder / ".sdterm-0123456789abcdef.tmp"
    torn.write_bytes(b"half")
    os.utime(torn, (0, 0))
    start_host(tmp_path)
    wait_until(lambda: not torn.exists())


# --- how long they stay -----------------------------------------------------------------------------------------------


async def received(services: HostServices, data: bytes, *, age: float = 0) -> str:
    """An input that came so many seconds ago."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data[:10]
        yield data[10:]

    await services.inputs.receive(digest_of(data), chunks())
    aged(services, digest_of(data), age)
    return digest_of(data)


def aged(services: HostServices, digest: str, age: float) -> None:
    path = Inputs(services.settings.root).path(digest)
    os.utime(path, (1000.0 - age,) * 2)  # the clock stands at 1000 s


def there(services: HostServices) -> set[str]:
    return set(os.listdir(Inputs(services.settings.root).folder))


def test_what_nothing_refers_to_goes_after_a_day(services: HostServices) -> None:
    async def scene() -> None:
        new = await received(services, png(1))
        old = await received(services, png(2), age=GRACE + 1)
        asked = await received(services, png(3), age=GRACE + 1)
        await services.inputs.path(asked)
        (Inputs(services.settings.root).folder / "notes.txt").write_text("not ours")
        assert await services.inputs.sweep() == 1
        assert there(services) == {new, asked, "notes.txt"} and old not in there(services)
        for digest in (new, asked):
            aged(services, digest, GRACE + 1)
        assert await services.inputs.sweep() == 2

    asyncio.run(scene())


def test_nothing_is_swept_where_no_input_ever_came(services: HostServices) -> None:
    assert asyncio.run(services.inputs.sweep()) == 0


def test_an_input_stays_while_its_job_may_go_on(services: HostServices) -> None:
    async def scene() -> None:
        digest = await received(services, png(), age=GRACE + 1)
        jobs = [services.jobs.submit(submission(), services.saving(), [digest]) for _ in range(2)]
        services.jobs.cancel(jobs[0])
        assert await services.inputs.sweep() == 0
        assert services.jobs.take() == jobs[1]
        assert await services.inputs.sweep() == 0
        services.jobs.end(jobs[1], "done", Done(images=0, seconds=1.0))
        assert await services.inputs.sweep() == 1

    asyncio.run(scene())


def test_an_input_stays_while_a_picture_of_its_job_can_be_had(services: HostServices, tmp_path: Path) -> None:
    async def scene() -> None:
        digest = await received(services, png(), age=GRACE + 1)
        job, path = services.jobs.submit(submission(), services.saving(), [digest]), tmp_path / "a.png"
        services.jobs.take()
        services.pictures.reserve(job, image(path), path)
        path.write_bytes(b"pixels")
        services.pictures.commit(job, image(path))
        services.jobs.end(job, "cancelled", Cancelled(images=1))
        assert await services.inputs.sweep() == 0
        picture = (await services.pictures.page("", 1, None)).pictures[0].id
        await services.trash.delete(picture)
        assert await services.inputs.sweep() == 0, "it can be brought back from the trash"
        await services.empty_trash(0)
        assert there(services) == set()

    asyncio.run(scene())

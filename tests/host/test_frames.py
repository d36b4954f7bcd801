"""Frames between host and worker: what is packed comes out again, and nothing else is taken for a frame."""

import io
import json
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core import frames
from sdterm.core.extensions.discovery import built_ins
from sdterm.core.frames import HEAD_SIZE, FrameError, pack, read_frame, sizes, unpack
from tests.host.conftest import settings_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.lists(st.integers())
HEADERS = st.builds(lambda kind, fields: {**fields, "type": kind}, TEXT, st.dictionaries(TEXT, VALUES, max_size=3))


@given(st.lists(st.tuples(HEADERS, st.binary()), max_size=3))
def test_frames_come_out_as_they_went_in(messages: list[tuple[dict[str, Any], bytes]]) -> None:
    stream = io.BytesIO(b"".join(pack(header, payload) for header, payload in messages))
    assert [read_frame(stream) for _ in messages] == messages
    assert read_frame(stream) is None


@given(HEADERS, st.binary(), st.data())
def test_a_torn_frame_is_told_from_the_end_of_the_stream(
    header: dict[str, Any], payload: bytes, data: st.DataObject
) -> None:
    whole = pack(header, payload)
    kept = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(whole[:kept]))


@given(st.binary(min_size=1))
def test_bytes_of_another_kind_are_refused(noise: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(noise.replace(b"sdt1", b"sdt2")))


@pytest.mark.parametrize(
    ("header", "payload"),
    [(frames.MAX_HEADER + 1, 0), (0, frames.MAX_PAYLOAD + 1), (2**32 - 1, 2**32 - 1)],
)
def test_a_frame_that_claims_too_much_is_refused_before_anything_is_allocated(header: int, payload: int) -> None:
    head = b"sdt1" + header.to_bytes(4, "big") + payload.to_bytes(4, "big")
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            read_frame(io.BytesIO(head))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"type": 1}',
        b'{"type": null}',
        b'{"type": "a"',
        b'{"type": "\xff"}',
        b'{"type": "a", "n": ' + b"1" * 5000 + b"}",
        b'{"type": "a", "deep": ' + b"[" * 500_000,
        b'{"type": ' + b'{"type": ' * 200_000,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_header_that_is_no_object_with_a_type_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError) as refused:
        unpack(text)
    assert len(str(refused.value)) < 200


def test_what_is_too_large_is_not_sent_either() -> None:
    with pytest.raises(FrameError):
        pack({"type": "a", "text": "ä" * (frames.MAX_HEADER // 2)})


@given(st.binary(min_size=HEAD_SIZE, max_size=HEAD_SIZE))
def test_any_head_gives_sizes_within_bounds_or_is_refused(head: bytes) -> None:
    for start in (head, b"sdt1" + head[4:]):
        try:
            header, payload = sizes(start)
        except FrameError:
            continue
        assert header <= frames.MAX_HEADER and payload <= frames.MAX_PAYLOAD


# --- a real worker --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker_command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    settings = settings_of(tmp_path_factory.mktemp("worker"), device="cpu", extensions="false")
    values = {key: value.value for key, value in settings.values.items()}
    return [sys.executable, "-m", "sdterm.worker", json.dumps({"data": str(settings.root), "values": values})]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (pack({"type": "nobody knows"}), 0, ""),
        (b"sdt1\xff\xff\xff\xff\xff\xff\xff\xff", 1, "Not a message"),
        (pack({"type": "draw", "job": 1})[:-3], 1, "was cut off"),
        (pack({"type": "draw", "job": 1}), 1, "draw"),
    ],
    ids=["unknown", "oversized", "torn", "incomplete"],
)
def test_a_worker_ends_by_itself_with_its_input_or_at_the_first_malformed_frame(
    worker_command: list[str], sent: bytes, code: int, said: str
) -> None:
    with subprocess.Popen(
        worker_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        assert worker.stdin and worker.stdout and worker.stderr
        ready = read_frame(cast(BinaryIO, worker.stdout))
        assert ready and ready[0]["type"] == "ready"
        worker.stdin.write(sent)
        worker.stdin.flush()
        if code == 0 or "was cut off" in said:
            worker.stdin.close()
        assert worker.wait(30) == code
        errors = worker.stderr.read().decode()
    assert said in errors and "Traceback" not in errors


@pytest.mark.heavy
def test_a_worker_whose_host_no_longer_reads_ends(worker_command: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(
        worker_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as worker:
        assert worker.stdout and worker.stdin and read_frame(cast(BinaryIO, worker.stdout))
        worker.stdout.close()  # the first event meets a closed pipe
        request = {"prompt": "a house", "steps": 1, "width": 64, "height": 64}
        rest: dict[str, Any] = {
            "plan": None,
            "bound_plugins": [],
            "sources": [asdict(s) for s in built_ins()],
            "saved": {},
            "skipped_images": [],
            "pause_at": None,
            "first_pass": None,
            "other_tapes": [],
            "share": None,
            "drawn": {},
        }
        worker.stdin.write(pack({"type": "draw", "job": 1, "request": request, "tape": str(tmp_path / "tape"), **rest}))
        worker.stdin.flush()
        assert worker.wait(60) == 0

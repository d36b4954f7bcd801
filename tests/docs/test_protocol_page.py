"""docs/protocol.md says what the code does: calls, events, failures and messages."""

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message

from sdterm.api import Snapshot
from sdterm.core.frames import MAX_HEADER, MAX_PAYLOAD
from sdterm.core.inputs import MOST_BYTES as MOST_INPUT_BYTES
from sdterm.core.inputs import MOST_PIXELS
from sdterm.core.settings.rundir import make_private, run_folder_of
from sdterm.core.settings.settings import resolve
from sdterm.events import Event, event_name
from sdterm.host.inputs import GRACE
from sdterm.host.log import BEHIND, BEHIND_BYTES, KEPT
from sdterm.host.services import HostServices
from sdterm.host.v1.app import MOST_BYTES, make_app

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[HostServices]:
    run_folder = run_folder_of(tmp_path)
    make_private(run_folder)
    parts = HostServices(resolve({}, {"SDTERM_DATA": str(tmp_path), "SDTERM_DEVICE": "cpu"}), run_folder)
    yield parts
    parts.database.close()


def test_every_call_is_on_the_page_and_no_other(services: HostServices) -> None:
    app = make_app(services, lambda: None)
    said = b""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        nonlocal said
        said += message.get("body", b"")

    scope = {"type": "http", "method": "GET", "path": "/v1/openapi.json", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    there = {f"{method.upper()} {path}" for path, methods in json.loads(said)["paths"].items() for method in methods}
    assert {*re.findall(r"^\| `((?:GET|HEAD|PUT|POST|DELETE) /v1[^`]*)`", PAGE, re.MULTILINE)} == there


def test_every_event_is_on_the_page_and_no_other() -> None:
    table = PAGE.partition("### Events")[2].partition("Codes of failures")[0]
    rows = [row for row in table.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {event_name(kind) for kind in (*Event.__subclasses__(), Snapshot)}


def test_every_message_is_on_the_page_and_no_other() -> None:
    table = PAGE.partition("## Frames")[2]
    named = {*re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)}
    assert named == _sent("sdterm/worker.py") | _sent("sdterm/host/dispatch.py")


def test_every_code_of_a_failure_is_on_the_page() -> None:
    listed = {*re.findall(r"`(\w+)`", PAGE.partition("Codes of failures:")[2].partition("\n\n")[0])}
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "sdterm").rglob("*.py"))
    for code in listed:
        assert f'"{code}"' in sources, code
    assert {*re.findall(r'(?:Failed\(|LostError\()\s*(?:code=)?"(\w+)"', sources)} <= listed


def test_the_limits_are_those_of_the_code() -> None:
    assert f"A body: {MOST_BYTES // 2**20} MiB" in PAGE and f"the last {KEPT:,}" in PAGE
    assert f"an input: {MOST_INPUT_BYTES // 2**20} MiB and {MOST_PIXELS:,} pixels" in PAGE
    assert f"for {GRACE / 3600:.0f} hours after it was sent" in PAGE
    assert f"that {BEHIND} events or {BEHIND_BYTES // 2**20} MiB wait" in PAGE
    assert f"at most {MAX_HEADER // 2**20} MiB" in PAGE and f"at most {MAX_PAYLOAD // 2**20} MiB" in PAGE


def _sent(path: str) -> set[str]:
    """The types of the frames that a module sends: the first argument of each `.send(…)`."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    firsts = [call.args[0] for call in calls if call.func.attr == "send" and call.args]  # type: ignore[attr-defined]
    return {first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str)}

"""Whatever a guest sends over a port gets an answer that says what is wrong, and stays within the outputs folder."""

import contextlib
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from sdterm.core.settings.tokens import SCOPES
from tests.host.access.serving import served

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.heavy
@pytest.mark.parametrize("examples", [60])
def test_nothing_that_a_guest_sends_breaks_the_host(tmp_path: Path, examples: int) -> None:
    root = tmp_path / "data"
    with served(root) as there:
        tokens = {scope: there.token(scope) for scope in SCOPES}
        headers = {"authorization": f"Bearer {tokens['admin']}"}
        schema = schemathesis.openapi.from_url(f"{there.url}/v1/openapi.json", headers=headers)
        found: Any = schema.get_all_operations()
        operations = [operation.ok() for operation in found if operation.ok().path != "/v1/events"]
        assert len(operations) > 30
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                _fuzz(operation, mode, examples, tokens)
        assert httpx.get(f"{there.url}/v1/health", headers=headers).is_success
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    made = {path.name for path in root.iterdir()}
    assert made <= {"run", "outputs", "config.toml", "cache", "inputs", "models", "extensions", "embeddings"}, made


def _fuzz(operation: Any, mode: schemathesis.GenerationMode, examples: int, tokens: dict[Any, str]) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode), scope=st.sampled_from(["", *SCOPES]))
    def try_it(case: Any, scope: Any) -> None:
        shown = {"authorization": f"Bearer {tokens[scope]}"} if scope else {}
        answer = case.call(timeout=30, headers=shown)
        if answer.status_code in (503, 507):
            return
        case.validate_response(answer, checks=CHECKS)
        assert scope or answer.status_code == 401
        if answer.status_code >= 400 and case.method != "HEAD":
            assert set(answer.json()) - {"texts"} == {"code", "message", "field"}

    with contextlib.suppress(Unsatisfiable):  # nothing is wrong where nothing can be given
        try_it()

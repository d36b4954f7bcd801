"""`sdterm serve` as its user sees it."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Run, environment


@pytest.mark.heavy
def test_what_serve_prints_is_in_the_users_language(sdterm: Run, tmp_path: Path) -> None:
    given = {"SDTERM_DATA": str(tmp_path / "data"), "SDTERM_LANGUAGE": "de"}
    run = partial(sdterm, **given)
    refused = run("serve", "--listen", "--port", "1")
    assert refused.returncode == 1 and refused.stderr.startswith("Lauschen auf 0.0.0.0"), refused.stderr
    serve = [sys.executable, "-m", "sdterm", "serve", "--device", "cpu"]
    with subprocess.Popen(serve, env=environment(**given), stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        try:
            said = serving.stdout.readline()
            while "http://" not in said and said:
                said = serving.stdout.readline()
            assert said.startswith("Offen unter http://127.0.0.1:")
            again = run("serve")
            assert again.returncode == 1 and "läuft schon ein Host" in again.stderr
            assert "Der Host ist beendet." in run("host", "stop").stdout
            assert serving.wait(60) == 0
        finally:
            serving.kill()
    assert run("host", "stop").stdout.startswith("Für ")

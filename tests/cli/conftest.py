"""The command line as a user runs it: a real process with its own data folder."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SDTERM_")}
    kept.pop("COMMANDLINE_ARGS", None)
    return kept | {"PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"} | extra


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a space and an accent in its path. The host that commands start there ends with the tests."""
    root = tmp_path_factory.mktemp("data") / "my dätä"
    yield root
    stop = [sys.executable, "-m", "sdterm", "host", "stop"]
    subprocess.run(stop, env=environment(SDTERM_DATA=str(root)), capture_output=True, timeout=60, check=True)


@pytest.fixture(scope="session")
def sdterm(data: Path) -> Run:
    """Run `sdterm …`; `env` adds variables, `stdin` is given on standard input."""

    def run(*arguments: str, stdin: str | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "sdterm", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment(SDTERM_DATA=str(data), **env),
        )

    return run

"""The command line as a user runs it: a real process with its own data folder."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TextIO

import pytest

from sdterm.cli import COMMANDS
from tests.commands import Commands, commands

REPOSITORY = Path(__file__).parents[2]

COMMAND_LINE = [*(f"sdterm.cli.{name.replace('-', '_')}" for name in COMMANDS), "sdterm.plugins.sd.tokenizer", "httpx2"]
ENGINE = ["sdterm.engine", "sdterm.plugins.sd.components", "sdterm.plugins.sd.building"]

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
def sdterm(data: Path) -> Iterator[Run]:
    """Run `sdterm …`; `env` adds variables, `stdin` is given on standard input, `cwd` is the folder it runs in.

    Each is a process of its own. What it imports, torch if it draws by itself, another one has imported before."""
    with ExitStack() as opened:

        @cache
        def forking(*modules: str) -> Commands:
            return opened.enter_context(commands(modules, environment(OMP_NUM_THREADS="1")))

        def run(
            *arguments: str, stdin: str | TextIO | None = None, cwd: Path = REPOSITORY, **env: str
        ) -> "subprocess.CompletedProcess[str]":
            variables = environment(**{"SDTERM_DATA": str(data)} | env)
            if sys.platform == "darwin":  # what is forked there may not use the system's libraries
                text, file = (stdin, None) if isinstance(stdin, str) else (None, stdin or subprocess.DEVNULL)
                command = [sys.executable, "-m", "sdterm", *arguments]
                return subprocess.run(
                    command, input=text, stdin=file, capture_output=True, text=True, timeout=120, env=variables, cwd=cwd
                )
            draws = "--local" in arguments or arguments[:1] == ("verify",)
            process = forking(*COMMAND_LINE, *ENGINE) if draws else forking(*COMMAND_LINE)
            return process.run(arguments, variables, stdin, cwd)

        yield run

"""What the tests of core share: processes that obey file permissions, even where root runs the tests."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import environment

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2

Obedient = Callable[..., str]


def _give_up_roots_privilege() -> None:
    """From the next exec on, file permissions hold for root too (Linux)."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture(scope="session")
def obedient(tmp_path_factory: pytest.TempPathFactory) -> Obedient:
    """Run a program in a process that may not read or write what permissions forbid; what it prints."""
    forbidden = tmp_path_factory.mktemp("forbidden") / "file"
    forbidden.touch(0o000)

    def run(program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
            preexec_fn=_give_up_roots_privilege if sys.platform == "linux" and os.geteuid() == 0 else None,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    if run(f"import os; print(os.access({str(forbidden)!r}, os.R_OK))") != "False\n":
        pytest.skip("file permissions cannot be made to hold here")
    return run

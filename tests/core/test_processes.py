import time
from pathlib import Path

import psutil
import pytest

from sdterm.core.processes import MOST_OUTPUT, BoundsError, run_bounded


def test_a_command_gives_its_exit_code_and_both_its_outputs() -> None:
    done = run_bounded(["sh", "-c", "echo picture; printf '\\377 wrong' >&2; cat; exit 3"], 60)
    assert (done.code, done.output, done.errors) == (3, "picture\n", "\ufffd wrong")


def test_a_command_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(BoundsError, match=r"^took longer than 0\.2 s$"):
        run_bounded(["sleep", "1000"], 0.2)


def test_a_command_that_closed_its_output_and_goes_on_is_stopped() -> None:
    with pytest.raises(BoundsError, match="took longer"):
        run_bounded(["sh", "-c", "exec sleep 1000 >&- 2>&-"], 0.2)


def test_a_command_that_floods_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(BoundsError, match=f"^wrote more than {MOST_OUTPUT // 2**20} MiB$"):
        run_bounded(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/helper; yes"], 60)
    helper, until = int((tmp_path / "helper").read_text()), time.monotonic() + 60
    while is_alive(helper):
        assert time.monotonic() < until
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

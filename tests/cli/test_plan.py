"""`sdterm plan`: what a picture needs, and what sdterm would do about it."""

import json
from pathlib import Path

from click.testing import CliRunner

from sdterm.cli import sdterm as command
from sdterm.core.planning.memory import Measured, Measurements

MIB = 2**20


def said(root: Path, *more: str) -> str:
    done = CliRunner().invoke(command, ["plan", "--data-dir", str(root), "--device", "cpu", *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_plan_names_each_way_with_its_memory_and_says_which_fits(tmp_path: Path) -> None:
    guessed = said(tmp_path, "--size", "64x64", "--batch", "2", "--limit-memory", "900MB")
    assert "cpu (tensors): 900 MB of 900 MB can be used now." in guessed
    lines = guessed.splitlines()
    assert lines[1].startswith("▸") and lines[1].endswith("no changes") and "~" in lines[1]
    assert any(line.endswith("1 image at a time") for line in lines)
    assert lines[-1].startswith("Fits: roughly ")

    for stage, size, more in (("sample", 4 * 64 * 64, 800), ("decode", 64 * 64, 100)):
        one = Measured("cpu (tensors)", "sd1", "float32", "", stage, size, 200 * MIB, (200 + more) * MIB, 1.0)
        Measurements(tmp_path).add(one)
    known = json.loads(said(tmp_path, "--size", "64x64", "--batch", "2", "--limit-memory", "900MB", "--json"))
    assert (known["free"], known["plans"][0]["bytes"]) == (900 * MIB, 1000 * MIB)
    (chosen,) = [plan for plan in known["plans"] if plan["chosen"]]
    assert chosen["bytes"] <= known["free"] and chosen["rungs"], known
    assert chosen["measured"] and chosen["seconds"] is not None


def test_a_limit_that_is_no_amount_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["plan", "--data-dir", str(tmp_path), "--limit-memory", "much"])
    assert done.exit_code and "like 3GB" in str(done.exception)

"""`sdterm ext`: getting extensions, as a user does it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, environment
from tests.core.extensions.making import folder, saver, wheel, zip_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "extensions").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def ext(sdterm: Run, root: Path) -> Run:
    """Run `sdterm ext …` on a data folder of the test's own."""

    def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return sdterm("--data-dir", str(root), "ext", *arguments, **env)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    manifest = 'version = "1.0"\nsdterm-api = ">=1"\ncapabilities = ["network"]\ndescription = "Soft \\u001b[31m"\n'
    return folder(tmp_path / "soft-euler", {"__init__.py": saver("soft"), "extension.toml": manifest})


def test_an_extension_s_life(ext: Run, root: Path, source: Path, sdterm: Run) -> None:
    done = ext("install", str(source), "--yes")
    assert done.returncode == 0 and done.stdout == ""
    for words in (
        "Install soft-euler 1.0",
        "talks to other machines",
        "with all your rights",
        "soft-euler is installed.",
    ):
        assert words in done.stderr
    assert "\x1b" not in done.stderr
    assert "up to date" in ext("install", str(source), "--yes").stderr

    (row,) = json.loads(ext("list", "--json").stdout)
    assert (row["slug"], row["state"], row["came"], row["version"]) == ("soft-euler", "on", "installed", "1.0")
    shown = ext("info", "soft-euler").stdout
    assert "talks to other machines" in shown and str(source) in shown and "installed  1.0" in shown

    with (root / "extensions" / "soft-euler" / "__init__.py").open("a") as code:
        code.write("# mine\n")
    assert "changed since it was approved" in ext("list").stdout
    assert "changed: __init__.py" in ext("trust", "soft-euler", "--yes").stderr
    assert "disabled" in ext("disable", "soft-euler").stderr and "disabled" in ext("list").stdout
    assert ext("enable", "soft-euler").returncode == 0
    assert "OutputSaver soft" in sdterm("--data-dir", str(root), "plugins").stdout
    assert ext("remove", "soft-euler").returncode == 0 and ext("list", "--json").stdout == "[]\n"
    log = [json.loads(line)["what"] for line in (root / "installed" / "log.jsonl").read_text().splitlines()]
    assert log == ["installed", "trusted", "disabled", "enabled", "removed"]


def test_without_a_terminal_nobody_agreed(ext: Run, root: Path, source: Path) -> None:
    done = ext("install", str(source))
    assert done.returncode == 2 and "--yes does it without asking" in done.stderr
    assert not list((root / "extensions").iterdir()) and not list((root / "installed" / ".staging").iterdir())


@pytest.mark.parametrize("answer, installed", [(b"y\n", True), (b"\n", False)], ids=["yes", "no"])
def test_at_a_terminal_one_is_asked(answer: bytes, installed: bool, root: Path, source: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sdterm", "--data-dir", str(root), "ext", "install", str(source)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment()) as process:
        os.write(ours, answer)
        said = process.communicate(timeout=60)[1].decode()
    os.close(ours)
    os.close(theirs)
    assert "Install it?" in said and (process.returncode == 0) == installed
    assert (root / "extensions" / "soft-euler").exists() == installed


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["install", "ext::sh -c evil", "--yes"], 1, "is refused"),
        (["install", "--yes", "--", "-evil"], 1, "looks like an option"),
        (["install", "https://user:secret@example.org/x", "--yes"], 1, "user name or password"),
        (["remove", "nothing"], 2, "There is no extension named 'nothing'"),
        (["enable", "evil\x1b[31m"], 2, "There is no extension named"),
        (["trust", "nothing"], 1, "No extension named nothing is installed"),
        (["instal", "x"], 2, "Did you mean 'install'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(words: list[str], code: int, said: str, ext: Run) -> None:
    done = ext(*words)
    assert done.returncode == code and said in done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr and "secret" not in done.stderr


def test_a_hostile_archive_is_refused_and_written_down(ext: Run, root: Path, tmp_path: Path) -> None:
    made = zip_of(tmp_path / "evil.zip", {"evil/__init__.py": "", "evil/../../evil\x1b.py": "1"})
    done = ext("install", str(made), "--yes")
    assert done.returncode == 1 and "not allowed" in done.stderr and "\x1b" not in done.stderr
    assert '"refused"' in (root / "installed" / "log.jsonl").read_text()
    assert not list((root / "extensions").iterdir())


@pytest.mark.heavy
def test_a_package_is_shown_with_its_name_and_version(ext: Run, sdterm: Run, root: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "index", "wheeled", "1.0", {"wheeled.py": saver("wheeled")}, announces="rolling = wheeled")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    assert ext("install", "wheeled", "--yes", **index).returncode == 0
    assert "rolling" in ext("list").stdout
    shown = sdterm("--data-dir", str(root), "plugins").stdout
    assert "package wheeled 1.0" in shown and "OutputSaver wheeled" in shown


@pytest.mark.heavy
def test_safe_runs_nothing_of_anybody_else(ext: Run, sdterm: Run, root: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder(root / "extensions", {"mine.py": f"open({str(marker)!r}, 'w')\n"})
    for words in (["samplers"], ["plugins"], ["ext", "list"], ["--help"], ["host", "status"]):
        done = sdterm("--data-dir", str(root), "--safe", *words)
        assert "Traceback" not in done.stderr
        assert "mine" not in done.stdout or words == ["ext", "list"]
    assert not marker.exists()
    assert "all disabled" in ext("list", "--safe").stderr
    assert "mine" in sdterm("--data-dir", str(root), "plugins").stdout and marker.exists()

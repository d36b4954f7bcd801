"""What was installed, approved and switched off is remembered, or nothing is loaded."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdterm.core.extensions.install import records
from sdterm.core.extensions.install.records import (
    FOLDER,
    InstallRecord,
    RecordsError,
    changing,
    note,
    notes,
    read_records,
    write_records,
)
from sdterm.core.extensions.registry import load_plugins
from tests.core.conftest import Obedient
from tests.core.extensions.making import folder, saver


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = {
        "one": InstallRecord(digest="abc", source="https://example.org", version="1.0", packages={"einops": "0.8"}),
        "two": InstallRecord(enabled=False),
    }
    write_records(tmp_path, written)
    assert read_records(tmp_path) == written
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700


def test_no_records_are_none(tmp_path: Path) -> None:
    assert read_records(tmp_path) == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"a": 1}', '{"a": {"enabled": "perhaps"}}', "[" * 100_000, "\x80"]
)
def test_records_that_cannot_be_read_stop_every_extension(content: str, tmp_path: Path) -> None:
    folder(tmp_path / "extensions", {"mine.py": "raise SystemExit('imported')"})
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "records.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RecordsError, match="no extension is loaded"):
        read_records(tmp_path)
    (problem,) = load_plugins(tmp_path / "extensions").problems
    assert problem.source.slug == "mine" and "no extension is loaded" in str(problem.error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FOLDER).mkdir(exist_ok=True)
    (tmp_path / FOLDER / "records.json").write_bytes(content)
    try:
        read_records(tmp_path)
    except RecordsError as error:
        assert "\x1b" not in str(error) and "\n" not in str(error)


def test_what_is_switched_off_is_not_imported(tmp_path: Path) -> None:
    folder(tmp_path / "extensions", {"mine.py": "raise SystemExit('imported')", "other.py": saver("other")})
    write_records(tmp_path, {"mine": InstallRecord(enabled=False)})
    plugins = load_plugins(tmp_path / "extensions")
    assert plugins.saver("other")
    assert [problem.error for problem in plugins.problems] == ["it is disabled: `sdterm ext enable mine`"]


def test_the_log_is_for_its_user_and_harmless_to_a_terminal(tmp_path: Path) -> None:
    note(tmp_path, "refused", "evil\x1b[31m", why="a\nb\u202e")
    note(tmp_path, "installed", "mine", version="1.0")
    log = tmp_path / FOLDER / "log.jsonl"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["what"] for line in lines] == ["refused", "installed"]
    assert not set("\x1b\n\u202e") & set("".join(str(value) for value in lines[0].values()))
    assert [line["version"] for line in notes(tmp_path, "mine")] == ["1.0"]


def test_a_log_that_somebody_damaged_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    note(tmp_path, "installed", "mine")
    with (tmp_path / FOLDER / "log.jsonl").open("ab") as log:
        log.write(b"\xff{\n[]\nnull\n")
    note(tmp_path, "removed", "mine")
    assert [line["what"] for line in notes(tmp_path, "mine")] == ["installed", "removed"]


def test_one_process_at_a_time_changes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PATIENCE", 0.1)
    program = """
import sys
from pathlib import Path
from sdterm.core.extensions.install.records import changing
with changing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RecordsError, match="Another sdterm"), changing(tmp_path):
            pass
        other.kill()
    with changing(tmp_path):  # the lock of a dead process is none
        pass


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path, obedient: Obedient) -> None:
    program = """
import sys
from pathlib import Path
from sdterm.core.extensions.install.records import InstallRecord, RecordsError, changing, note, write_records
for deed in (lambda root: write_records(root, {"a": InstallRecord()}), lambda root: note(root, "x", "y")):
    try:
        deed(Path(sys.argv[1]))
    except RecordsError as error:
        print(error)
"""
    tmp_path.chmod(0o500)
    try:
        said = obedient(program, tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert said.count("cannot be created: Permission denied.") == 2

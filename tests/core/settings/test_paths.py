"""The data folder: where it is, and what is put into it the first time."""

import os
from pathlib import Path

import pytest

from sdterm.core.settings.file import write_setting
from sdterm.core.settings.paths import CHECKPOINTS, EMBEDDED_MODEL, DataRootError, data_root, prepare
from sdterm.core.settings.settings import ConfigError, Value, resolve
from tests.core.conftest import Obedient


def test_the_command_line_has_its_way_before_the_environment_and_that_before_the_clone(repo: Path) -> None:
    assert data_root("/chosen", {"SDTERM_DATA": "/variable"}) == Path("/chosen")
    assert data_root(None, {"SDTERM_DATA": "/variable"}) == Path("/variable")
    assert data_root(None, {"SDTERM_DATA": ""}) == repo
    assert data_root("~/here", {}) == Path.home() / "here"


def test_the_folders_people_look_for_are_made_with_the_example_in_place(tmp_path: Path) -> None:
    root = tmp_path / "new" / "data"
    prepare(root)
    for folder in (CHECKPOINTS, "embeddings", "extensions", "localizations", "outputs"):
        assert (root / folder).is_dir()
    assert (root / "extensions" / "example_midpoint.py").is_file()
    assert EMBEDDED_MODEL.is_file()


def test_others_may_not_write_into_the_folders_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        prepare(tmp_path / "new" / "data")
    finally:
        os.umask(before)
    assert [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o022] == []


def test_what_a_user_changed_or_removed_stays_so(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "extensions" / "example_midpoint.py").unlink()
    (tmp_path / "localizations" / "README.md").write_text("mine")
    prepare(tmp_path)
    assert not (tmp_path / "extensions" / "example_midpoint.py").exists()
    assert (tmp_path / "localizations" / "README.md").read_text() == "mine"


def test_a_data_folder_that_is_a_file_is_one_sentence_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataRootError, match=r"^The data folder .*data cannot be used: .*--data-dir or SDTERM_DATA\.$"):
        prepare(tmp_path / "data")


def test_a_data_folder_that_may_not_be_written_is_one_sentence(tmp_path: Path, obedient: Obedient) -> None:
    tmp_path.chmod(0o555)
    program = (
        "import sys\nfrom pathlib import Path\nfrom sdterm.core.settings.paths import DataRootError, prepare\n"
        "try:\n    prepare(Path(sys.argv[1]))\nexcept DataRootError as error:\n    print(error)\n"
    )
    try:
        said = obedient(program, tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert "cannot be used: Permission denied." in said


def test_the_settings_say_where_the_data_folder_is_and_that_config_toml_cannot(tmp_path: Path) -> None:
    settings = resolve({}, {"SDTERM_DATA": str(tmp_path)})
    assert settings.values["data_dir"] == Value(str(tmp_path), "SDTERM_DATA")
    with pytest.raises(ConfigError, match="lies in the data folder"):
        write_setting(settings, "data_dir", "zh")
    assert not (tmp_path / "config.toml").exists()
    assert resolve({"the command line": {"data_dir": "/x"}}, {"SDTERM_DATA": str(tmp_path)})["data_dir"] == "/x"

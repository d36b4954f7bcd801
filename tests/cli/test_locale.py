"""`sdterm locale` with languages that plugins bring: without a host, and without running them here."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

PACK = """
from sdterm.hooks import LocalePack, hookimpl

@hookimpl
def sdterm_locale_packs():
    return [LocalePack("klingon", "Klingon", "tlh", {"Seed": "Mi", "{job} x": "\\x1b[31m{job}"})]
"""


@pytest.mark.heavy
def test_languages_of_plugins_are_listed_checked_and_written_as_templates(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "klingon.py").write_text(PACK)
    here = ("--data-dir", str(tmp_path))
    listed = sdterm(*here, "locale", "list")
    assert "tlh\n  2 texts: the plugin klingon\n" in listed.stdout, listed
    assert json.loads(sdterm(*here, "locale", "list", "--json").stdout)["tlh"] == [
        {"path": None, "plugin": "klingon", "texts": 2, "fault": None}
    ]
    assert "tlh: 1 of " in sdterm(*here, "locale", "check", "tlh").stdout
    assert json.loads(sdterm(*here, "locale", "template", "tlh").stdout)["Seed"] == "Mi"


def test_errors_and_what_is_listed_are_said_in_the_users_language_and_json_is_not(sdterm: Run, tmp_path: Path) -> None:
    words = {
        "Error: {error}": "Fehler: {error}",
        "There is no job {job}.": "Es gibt keinen Job {job}.",
        "There is no job yet. `sdterm generate PROMPT` makes one.": "Noch kein Job.",
        "Name one JOB, or --all.": "Ein JOB oder --all.",
    }
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "de.json").write_text(json.dumps(words))
    here = ("--data-dir", str(tmp_path / "data"), "--localizations-dir", str(folder))
    german = {"SDTERM_LANGUAGE": "de"}
    assert sdterm(*here, "queue", "retry", **german).stderr == "Fehler: Ein JOB oder --all.\n", "said here"
    try:
        assert sdterm(*here, "cancel", "7", **german).stderr.endswith("Fehler: Es gibt keinen Job 7.\n"), "by the host"
        assert sdterm(*here, "queue", **german).stdout == "Noch kein Job.\n"
        assert "Es gibt" not in sdterm(*here, "host", "status", "--json", **german).stdout
    finally:
        sdterm(*here, "host", "stop")


def test_a_language_that_is_not_there_costs_no_command_anything(sdterm: Run, tmp_path: Path) -> None:
    done = sdterm("--data-dir", str(tmp_path), "queue", "retry", SDTERM_LANGUAGE="xx")
    assert (done.returncode, done.stderr) == (2, "Error: Name one JOB, or --all.\n")

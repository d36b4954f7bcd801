"""`sdterm locale` with languages that plugins bring: without a host, and without running them here."""

import json
from pathlib import Path

from tests.cli.conftest import Run

PACK = """
from sdterm.hooks import LocalePack, hookimpl

@hookimpl
def sdterm_locale_packs():
    return [LocalePack("klingon", "Klingon", "tlh", {"Seed": "Mi", "{job} x": "\\x1b[31m{job}"})]
"""


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

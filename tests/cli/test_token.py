"""`sdterm token`."""

import json
import stat
from functools import partial
from pathlib import Path

from sdterm.core.settings.rundir import run_folder_of
from sdterm.core.settings.tokens import TOKEN
from tests.cli.conftest import Run


def test_a_token_is_made_listed_and_revoked(sdterm: Run, tmp_path: Path) -> None:
    run = partial(sdterm, SDTERM_DATA=str(tmp_path / "data"))
    assert "There are no tokens" in run("token", "list").stderr
    made = run("token", "new", "laptop", "--scope", "admin", "--expires", "30d")
    assert TOKEN.fullmatch(made.stdout.strip()) and "allows admin and expires on 2" in made.stderr
    path = run_folder_of(tmp_path / "data").tokens
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and made.stdout.strip() not in path.read_text()
    listed = run("token", "list").stdout
    assert "laptop  admin  made 2" in listed and "expires 2" in listed and "sdterm_" not in listed
    (row,) = map(json.loads, run("token", "list", "--json").stdout.splitlines())
    assert row.keys() == {"name", "scope", "created", "expires"} and row["expires"] - row["created"] == 30 * 24 * 3600
    kept = tmp_path / "bot.token"
    made = run("token", "new", "bot", "--expires", "never", "--file", str(kept))
    assert made.stdout == "" and "does not expire" in made.stderr and "shown" not in made.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert TOKEN.fullmatch(kept.read_text().strip())
    again = run("token", "new", "other", "--file", str(kept))
    assert again.returncode == 2 and "cannot be made: File exists" in again.stderr
    nowhere = tmp_path / "x.token"
    assert run("token", "new", "bot", "--file", str(nowhere)).returncode == 2 and not nowhere.exists()
    assert [line.split()[0] for line in run("token", "list").stdout.splitlines()] == ["laptop", "bot"]
    listed = run("token", "list", SDTERM_LANGUAGE="de").stdout
    assert "laptop  admin  erstellt 2" in listed and "läuft ab am 2" in listed and "läuft nie ab" in listed
    run("token", "revoke", "bot")
    assert "was revoked" in run("token", "revoke", "laptop").stderr
    assert run("token", "list").stdout == ""


def test_what_cannot_be_done_is_said(sdterm: Run, tmp_path: Path) -> None:
    run = partial(sdterm, SDTERM_DATA=str(tmp_path / "data"))
    for arguments, said in (
        (("new", "a b"), "1 to 60 letters"),
        (("new", "a", "--scope", "owner"), "'read', 'generate', 'admin'"),
        (("new", "a", "--expires", "soon"), "like 12h, 30d or 8w"),
        (("new", "a", "--expires", "0d"), "like 12h, 30d or 8w"),
        (("new", "a", "--expires", "99999999w"), "like 12h, 30d or 8w"),
        (("new", "a", "--expires", "9" * 400 + "d"), "like 12h, 30d or 8w"),
        (("revoke", "a"), "no token named a. The tokens are: none."),
    ):
        failed = run("token", *arguments)
        assert failed.returncode == 2 and said in failed.stderr and not failed.stdout

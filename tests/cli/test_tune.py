"""`sdterm tune` measures what there is and keeps what is fastest."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdterm.cli.tune import tune


@pytest.mark.heavy
@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_fastest_is_kept_and_the_rest_of_the_settings_stays(
    keeps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDTERM_DATA", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    config = tmp_path / "config.toml"
    config.write_text('# mine\nsteps = 7\nprecision = "full"\n')
    words = ["--size", "64x64", "--steps", "2", "--psnr", "0", "--json", *([] if keeps else ["--dry-run"])]
    done = CliRunner().invoke(tune, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    tried = {each["name"].split(", ")[-1]: each for each in found["tried"]}
    assert {"auto", "half", "bf16", "sliced", "fast"} <= tried.keys()
    assert "no-such-compiler" in tried["fast"]["reason"] and not tried["auto"]["reason"]
    assert tried["auto"]["psnr"] is None and (tried["bf16"]["psnr"] or 99) > 20
    plan = next(each["plan"] for each in found["tried"] if each["name"] == found["fastest"])
    wanted = {"steps": 7, **plan} if keeps else {"steps": 7, "precision": "full"}
    assert tomllib.loads(config.read_text()) == wanted and "# mine" in config.read_text()
    assert found["kept"] == (plan if keeps else {})

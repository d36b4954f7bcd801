"""The page on file names tells the truth: its settings are settings, its patterns give its names."""

import re
import tomllib
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sdterm.core.output.naming import NameFacts, check_pattern, file_name
from sdterm.core.settings.settings import resolve
from sdterm.events import Image, Started
from sdterm.request import GenerationRequest


def test_every_pattern_on_the_page_gives_the_name_beside_it(repo: Path) -> None:
    page = (repo / "docs" / "how-to" / "file-names.md").read_text(encoding="utf-8")
    prompt, when = "red house, snow", datetime(2026, 1, 31, 23, 59, tzinfo=ZoneInfo("Europe/Vienna"))
    facts = NameFacts(
        GenerationRequest(prompt=prompt),
        Started(model="", model_hash="", sampler="", scheduler="", seed=5, width=64, height=64, images=1),
        Image(index=0, seed=5, prompt=prompt, width=64, height=64, infotext="", suffix=".png", data=b""),
        when,
        when,
    )
    rows = re.findall(r"^\| `(\[.+?)` \| `(.+?)`", page, re.MULTILINE)
    assert len(rows) == 7
    for pattern, name in rows:
        pattern = pattern.replace("\\|", "|")
        check_pattern(pattern)
        assert f"{file_name(pattern, facts)}.png" == name


def test_the_settings_on_the_page_are_understood(repo: Path, tmp_path: Path) -> None:
    page = (repo / "docs" / "how-to" / "file-names.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "config.toml").write_text(block)
    settings = resolve({}, {"SDTERM_DATA": str(tmp_path)})
    assert all(settings[key] == value for key, value in tomllib.loads(block).items())

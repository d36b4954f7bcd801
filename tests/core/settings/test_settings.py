"""Settings that are lists of a few names."""

from pathlib import Path

import pytest

from sdterm.core.settings.settings import GALLERY_COLUMNS, ConfigError, parsed, resolve


def test_a_list_takes_the_names_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('gallery_columns = ["seed", "prompt"]\n')
    assert resolve({}, {"SDTERM_DATA": str(tmp_path)})["gallery_columns"] == ("seed", "prompt")
    assert parsed("gallery_columns", " seed, cfg ,", tmp_path) == ("seed", "cfg")


def test_a_name_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gallery_columns has 'sed' in .*" + ", ".join(GALLERY_COLUMNS)):
        parsed("gallery_columns", "sed,cfg", tmp_path)

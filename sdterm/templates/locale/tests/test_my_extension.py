import json
from pathlib import Path

from sdterm.core.extensions.check import check

HERE = Path(__file__).parents[1]


def test_its_files_are_texts() -> None:
    assert check(HERE) == []
    for file in (HERE / "localizations").glob("*.json"):
        assert all(isinstance(text, str) for text in json.loads(file.read_text(encoding="utf-8")).values())

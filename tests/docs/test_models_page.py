"""docs/models.md says what the table of kinds says."""

import re
from pathlib import Path

import pytest

from sdterm.core.settings.model_kinds import MODEL_KINDS, ModelKind

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = [row.split("|")[1:-1] for row in PAGE.splitlines() if re.match(r"\| \w.* \| .*`(models/|embeddings)", row)]


@pytest.mark.parametrize(
    ("kind", "row"), [*zip(MODEL_KINDS, ROWS, strict=True)], ids=lambda each: getattr(each, "id", "")
)
def test_each_kinds_folders_suffixes_flags_and_setting_are_on_the_page(kind: ModelKind, row: list[str]) -> None:
    _, folders, suffixes, more = ({each.split()[0] for each in re.findall(r"`([^`]+)`", cell)} for cell in row)
    assert {folder.as_posix() for folder in kind.folders} <= folders
    assert suffixes - {"model_index.json"} == {*kind.suffixes}
    assert {*kind.flags, *([kind.setting] if kind.setting else [])} <= more
    assert {name for name in kind.comfyui if f"`{name}`" not in PAGE and f"/{name}`" not in PAGE} == set()

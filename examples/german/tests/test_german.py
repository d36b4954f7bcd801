"""The pack is found, chosen and used; what it says fits what it translates."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.core.settings.settings import resolve
from sdterm.tui.language import language_sources, languages, read_messages, tr, use

PACK = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(PACK, tmp_path / "extensions" / "german")
    yield tmp_path
    use(None)


def test_it_is_found_and_spoken(root: Path) -> None:
    places = language_sources(resolve({}, {"SDTERM_DATA": str(root)}))
    assert "de_DE" in languages(places)
    assert use("de_DE", places) == ()
    assert tr("Settings") == "Einstellungen"
    assert tr("{model} is loaded ({time}s).", model="x", time=2) == "x ist geladen (2 s)."


def test_it_translates_texts_that_there_are_with_their_names(root: Path) -> None:
    from sdterm.tui.texts import faults

    places = language_sources(resolve({}, {"SDTERM_DATA": str(root)}))
    wrong = faults(read_messages("de_DE", places), "de")
    assert wrong["unused"] == [] and wrong["names differ"] == []
    assert len(json.loads((PACK / "localizations" / "de_DE.json").read_text(encoding="utf-8"))) > 150

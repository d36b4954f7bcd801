"""The pack is found and wins over sdterm's own German; what it leaves out stays."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.core.languages.translations import language_sources, languages, read_files
from sdterm.core.settings.settings import resolve
from sdterm.tui.language import tr, use

PACK = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(PACK, tmp_path / "extensions" / "german")
    yield tmp_path
    use(None)


def test_its_words_win_and_all_others_stay(root: Path) -> None:
    places = language_sources(resolve({}, {"SDTERM_DATA": str(root)}))
    assert "de" in languages(places)
    assert use("de", places) == ()
    assert tr("Seed") == "Startwert" and tr("#{job} is queued.", job=7) == "Job #7 wartet."
    assert tr("Settings") == "Einstellungen"


def test_it_translates_texts_that_there_are_with_their_names(root: Path) -> None:
    from sdterm.tui.texts import faults

    places = language_sources(resolve({}, {"SDTERM_DATA": str(root)}))
    mine = read_files("de", places)[-1]
    assert mine.path and "extensions" in mine.path.parts
    wrong = faults(mine.messages, "de")
    assert wrong["unused"] == [] and wrong["names differ"] == []

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.language import LanguageError, languages, tr, use


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    use(None)


def test_a_language_is_switched_and_english_stands_in(folder: Path) -> None:
    (folder / "de.json").write_text(json.dumps({" Seed ": "Startwert", "Hello {name}": "Hallo {name}", "rtl": True}))
    use("de", [folder])
    assert tr("Seed") == "Startwert" and tr("Hello {name}", name="x") == "Hallo x" and tr("Steps") == "Steps"
    use("en", [folder])
    assert tr("Seed") == "Seed"


def test_files_of_one_name_are_joined_and_the_last_folder_wins(folder: Path) -> None:
    for name, content in (("a", {"Seed": "1", "Steps": "1"}), ("b", {"Seed": "2"})):
        (folder / name).mkdir()
        (folder / name / "de.json").write_text(json.dumps(content))
    use("de", [folder / "a", folder / "b"])
    assert (tr("Seed"), tr("Steps")) == ("2", "1")
    assert languages([folder / "a", folder / "none"]) == ["de"]


@pytest.mark.parametrize("translation", ["{nam}", "{", "{0}", "{name.__class__.x}", "\x1b[31m{name}"])
def test_a_translators_slip_costs_no_sentence_and_is_no_danger(folder: Path, translation: str) -> None:
    (folder / "de.json").write_text(json.dumps({"Hello {name}": translation}))
    use("de", [folder])
    said = tr("Hello {name}", name="x")
    assert "x" in said and "\x1b" not in said


@pytest.mark.parametrize("content", ["{", "[]", '"x"', "\x00", '{"a": 1,}'])
def test_a_broken_file_is_a_sentence(folder: Path, content: str) -> None:
    (folder / "de.json").write_text(content)
    with pytest.raises(LanguageError, match=r"de\.json"):
        use("de", [folder])


def test_a_language_that_is_not_there_is_a_sentence(folder: Path) -> None:
    with pytest.raises(LanguageError, match="no translation 'xx'"):
        use("xx", [folder])


@given(st.text(), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_nothing_translated_changes_no_text_without_values(text: str, values: dict[str, int]) -> None:
    assert tr(text) == text

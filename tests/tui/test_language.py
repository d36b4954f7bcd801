import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.extensions.install.records import InstallRecord, write_records
from sdterm.core.settings.settings import resolve
from sdterm.tui.language import MOST_BYTES, LanguageError, language_folders, languages, tr, use


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


@pytest.mark.parametrize(
    "translation",
    [
        "{nam}",
        "{",
        "{0}",
        "{name.__class__.x}",
        "{name:999999999}",
        "{name!r:>999999999}",
        "{",
        "}{name}",
        "\x1b[31m{name}",
    ],
)
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


def test_a_pack_in_extensions_is_found_and_used_without_running_anything(folder: Path) -> None:
    pack = folder / "extensions" / "my-pack"
    (pack / "localizations").mkdir(parents=True)
    (pack / "__init__.py").write_text("raise SystemExit('this must not run')")
    (pack / "localizations" / "xx_YY.json").write_text('{"Seed": "Xeed", "Steps": "Xteps"}')
    (folder / "localizations").mkdir()
    (folder / "localizations" / "xx_YY.json").write_text('{"Steps": "Mine"}')
    settings = resolve({}, {"SDTERM_DATA": str(folder)})
    assert "xx_YY" in languages(language_folders(settings))
    assert use("xx_YY", language_folders(settings)) == ()
    assert (tr("Seed"), tr("Steps")) == ("Xeed", "Mine")
    write_records(folder, {"my-pack": InstallRecord(enabled=False)})
    assert [path for path in language_folders(settings) if "extensions" in path.parts] == []


def test_a_hostile_pack_is_told_and_costs_no_other_its_words(folder: Path) -> None:
    hostile = ("{", "[]", "[" * 100_000, '"\\ud800"', '{"Seed": ' + "9" * 10_000 + "}", " " * (MOST_BYTES + 1))
    for number, content in enumerate(hostile):
        (folder / str(number)).mkdir()
        (folder / str(number) / "de.json").write_text(content)
    (folder / "good").mkdir()
    (folder / "good" / "de.json").write_text('{"Seed": "Start\\u001b[31mwert\\u202e", "Steps": 7, "CFG": ["x"]}')
    (folder / "good" / "d\x1be.json").write_text("{}")
    told = use("de", [*(folder / str(number) for number in range(len(hostile))), folder / "good"])
    assert tr("Seed").startswith("Start") and not any(c in tr("Seed") for c in "\x1b\u202e")
    assert tr("Steps") == "Steps"
    assert len(told) == len(hostile) and all("de.json" in sentence for sentence in told)
    assert languages([folder / "good"]) == ["de"]


def test_a_language_that_is_not_there_is_a_sentence(folder: Path) -> None:
    with pytest.raises(LanguageError, match="no translation 'xx'"):
        use("xx", [folder])


@given(st.text(), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_nothing_translated_changes_no_text_without_values(text: str, values: dict[str, int]) -> None:
    assert tr(text) == text

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.extensions.catalogue import Catalogue, Offer
from sdterm.core.extensions.install.records import InstallRecord, write_records
from sdterm.core.languages.translations import (
    MOST_BYTES,
    LanguageError,
    Pack,
    language_sources,
    languages,
    packs_of,
    read_files,
)
from sdterm.core.settings.paths import shipped
from sdterm.core.settings.settings import resolve
from sdterm.tui.language import tr, use


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
    assert "xx_YY" in languages(language_sources(settings))
    assert use("xx_YY", language_sources(settings)) == ()
    assert (tr("Seed"), tr("Steps")) == ("Xeed", "Mine")
    write_records(folder, {"my-pack": InstallRecord(enabled=False)})
    assert not [
        place for place in language_sources(settings) if isinstance(place, Path) and "extensions" in place.parts
    ]


def test_what_plugins_bring_lies_between_our_files_and_all_folders(folder: Path) -> None:
    ours = {"Seed": "ours", "Steps": "ours", "Gallery": "ours", "Queue": "ours"}
    for place, words in (("extensions/pack/localizations", ["Gallery", "Queue"]), ("localizations", ["Queue"])):
        (folder / place).mkdir(parents=True)
        (folder / place / "xx.json").write_text(json.dumps(dict.fromkeys(words, place)))
    (folder / "ours").mkdir()
    (folder / "ours" / "xx.json").write_text(json.dumps(ours))
    packs = (Pack("one", "xx", {"Seed": "one", "Steps": "one"}), Pack("two", "xx", dict.fromkeys(ours, "two")))
    places = language_sources(resolve({}, {"SDTERM_DATA": str(folder)}), packs)
    use("xx", [folder / "ours", *(place for place in places if place != shipped("localizations"))])
    assert [tr(word) for word in ours] == ["two", "two", "extensions/pack/localizations", "localizations"]
    assert places.index(packs[0]) == 1 and languages(packs) == ["xx"]
    assert [file.plugin for file in read_files("xx", places)] == ["one", "two", None, None]


def test_what_a_plugin_brings_is_cleaned_as_files_are(folder: Path) -> None:
    messages = {
        " Seed ": "Start\x1b[31mwert\u202e",
        "Hello {name}": "{name.__class__}",
        "Steps": "x" * 20_000,
        "rtl": "1",
    }
    offer = Offer(kind="LocalePack", id="x", label="X", plugin="x", facts={"language": "xx", "messages": messages})
    packs = packs_of(Catalogue(offers=(offer,), plugins=()))
    assert use("xx", packs) == ()
    assert tr("Seed").startswith("Start") and not any(c in tr("Seed") for c in "\x1b\u202e")
    assert tr("Hello {name}", name="y") == "Hello y" and len(tr("Steps")) == 10_000 and tr("rtl") == "rtl"


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

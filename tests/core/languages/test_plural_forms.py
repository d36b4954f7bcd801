"""Which words a number takes, in languages that have other plural forms than English."""

from collections.abc import Iterator

import pytest

from sdterm.core.languages.plural_forms import categories, category
from sdterm.core.languages.translations import Pack
from sdterm.messages import plural
from sdterm.tui.language import counted, tr, use
from sdterm.tui.texts import faults

ONE, MANY = "One image, {size} MB.", "{number} images, {size} MB."
RUSSIAN = {"one": "{number} картинка, {size} МБ.", "few": "{number} картинки, {size} МБ.", "many": "{number} картинок."}


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    use(None)


@pytest.mark.parametrize(
    ("language", "there"),
    [
        ("en", "one other"),
        ("de_DE", "one other"),
        ("ja", "other"),
        ("zh-TW", "other"),
        ("ru", "one few many"),
        ("pl", "one few many"),
        ("cs_CZ", "one few other"),
        ("ar", "zero one two few many other"),
        ("lv", "zero one other"),
        ("nobody_knows", "one other"),
    ],
)
def test_a_language_has_the_categories_that_cldr_says(language: str, there: str) -> None:
    assert list(categories(language)) == there.split()


@pytest.mark.parametrize(
    ("language", "of"),
    [
        ("en", {0: "other", 1: "one", 2: "other", 21: "other"}),
        ("fr", {0: "one", 1: "one", 2: "other"}),
        ("ru", {0: "many", 1: "one", 2: "few", 5: "many", 11: "many", 12: "many", 21: "one", 22: "few", 111: "many"}),
        ("pl", {1: "one", 2: "few", 5: "many", 12: "many", 21: "many", 22: "few"}),
        ("sr", {1: "one", 2: "few", 5: "other", 21: "one"}),
        ("cs", {1: "one", 4: "few", 5: "other", 22: "other"}),
        ("lt", {1: "one", 2: "few", 10: "other", 11: "other", 21: "one"}),
        ("lv", {0: "zero", 1: "one", 2: "other", 11: "zero", 21: "one"}),
        ("ro", {0: "few", 1: "one", 19: "few", 20: "other", 101: "few"}),
        ("sl", {1: "one", 2: "two", 3: "few", 5: "other", 101: "one"}),
        ("ar", {0: "zero", 1: "one", 2: "two", 3: "few", 11: "many", 100: "other", 103: "few"}),
        ("ja", {0: "other", 1: "other", 2: "other"}),
    ],
)
def test_a_number_has_the_category_that_cldr_says(language: str, of: dict[int, str]) -> None:
    assert {number: category(language, number) for number in of} == of


def test_forms_of_a_table_are_said_here_and_in_what_the_host_says() -> None:
    use("ru", [Pack("x", "ru", {MANY: RUSSIAN})])
    assert [counted(ONE, MANY, number, size=7) for number in (1, 2, 5, 21)] == [
        "1 картинка, 7 МБ.",
        "2 картинки, 7 МБ.",
        "5 картинок.",
        "21 картинка, 7 МБ.",
    ]
    assert tr(plural(ONE, MANY, 22, size=7)) == "22 картинки, 7 МБ."


def test_a_language_without_a_singular_says_the_same_of_one() -> None:
    use("ja", [Pack("x", "ja", {MANY: "{number} 枚、{size} MB。"})])
    assert [counted(ONE, MANY, number, size=7) for number in (1, 2)] == ["1 枚、7 MB。", "2 枚、7 MB。"]


def test_what_lacks_forms_of_its_language_is_a_fault() -> None:
    one, many = "One image is permanently deleted.", "{number} images are permanently deleted."
    assert many in faults({many: "{number} картинок"}, "ru")["plural forms"]
    assert many in faults({many: {"one": "x", "few": "{number}"}}, "ru")["plural forms"]
    assert many in faults({many: {"one": "x", "few": "{nr}", "many": "{number}"}}, "ru")["names differ"]
    wrong = faults({many: {"one": "одна", "few": "{number} b", "many": "{number} c"}}, "ru")
    assert many not in wrong["plural forms"] + wrong["names differ"] and one not in wrong["missing"]
    assert one in faults({many: "{number} Bilder"}, "de")["missing"]
    assert one not in faults({many: "{number} 枚"}, "ja")["missing"]

"""Names in any spelling, and words that do a terminal no harm."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.names import UnknownNameError, find
from sdterm.core.text import file_size, printable

ITEMS = {"Euler a": 1, "euler_a": 1, "Euler": 2, "DPM++ 2M": 3, "k_dpmpp_2m": 3}


@pytest.mark.parametrize(("name", "item"), [("euler A", 1), ("EULER-A", 1), (" Euler ", 2), ("K-DPMPP-2M", 3)])
def test_a_name_is_found_in_any_case_and_by_alias(name: str, item: int) -> None:
    assert find("sampler", name, ITEMS) == item


def test_a_near_miss_names_labels_and_a_far_one_names_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Euler'"):
        find("sampler", "Eulr", ITEMS)
    with pytest.raises(UnknownNameError, match="You can choose 'A' or 'B'"):
        find("thing", "zzzzzz", {"A": 1, "B": 2})


def test_the_exact_spelling_wins_and_one_that_may_be_several_things_is_refused() -> None:
    items = {"a-b": 1, "alias": 1, "a_b": 2, "c": 3}
    assert [find("model", name, items) for name in ("a-b", "a_b", "C")] == [1, 2, 3]
    with pytest.raises(UnknownNameError, match=r"^'A B' could be the model 'a-b' or 'a_b': write one of these\.$"):
        find("model", "A B", items)
    assert find("model", "A B", {"a-b": 4, "a_b": 4}) == 4, "two names of one thing"


@given(st.text())
def test_nothing_a_terminal_would_obey_is_printed(text: str) -> None:
    assert not [
        c for c in printable(text) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066"
    ]


def test_letters_of_every_script_and_joined_emoji_stay() -> None:
    assert printable("naïve 日本　👩‍🚀 عربى") == "naïve 日本　👩‍🚀 عربى"
    assert printable("\x1b[31mred\x07") == "�[31mred�"


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\u200d"], ids=["accent", "circle", "joiner"])
def test_marks_are_not_piled_up_without_end(mark: str) -> None:
    assert printable("e" + mark * 3000 + "nd", limit=10_000) == "e" + mark * 10 + "…nd"
    assert printable(("e" + mark * 10) * 50, limit=10_000) == ("e" + mark * 10) * 50
    tibetan, hebrew = "བསྒྲུབས", "בְּרֵאשִׁ֖ית"
    assert printable(tibetan + hebrew) == tibetan + hebrew


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0.0 kB"), (3_140, "3.1 kB"), (25_340_000, "25.3 MB"), (6_938_040_000, "6.94 GB")]
)
def test_sizes_are_told_in_the_unit_that_fits(count: int, told: str) -> None:
    assert file_size(count) == told


def test_what_only_shares_letters_with_a_name_is_not_suggested() -> None:
    with pytest.raises(UnknownNameError, match=r"^There is no parameter named 'foo'\. You can choose 'hooks'"):
        find("parameter", "foo", {"hooks": 1, "hook": 2, "steps": 3})

"""styles.csv as A1111 writes it and as people save it."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.prompt.styles import StylesError, find_styles, read_styles
from sdterm.hooks import PromptContext, PromptText
from sdterm.plugins.styles import apply_styles

TABLE = 'name,prompt,negative_prompt\nred,"{prompt}, red",blue\n"two, lines","a\nb",\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_styles_are_read_with_and_without_a_byte_order_mark(encoding: str, line_end: str, tmp_path: Path) -> None:
    text = TABLE.replace("red", "rød")
    (tmp_path / "styles.csv").write_bytes(text.replace("\n", line_end).encode(encoding))
    styles = read_styles([tmp_path / "styles.csv"])
    assert styles == {"rød": ("{prompt}, rød", "blue"), "two, lines": (f"a{line_end}b", "")}


def test_dividers_and_nameless_rows_are_no_styles(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\n# portraits,,\n,nobody,\nred,red,\n")
    assert list(read_styles([tmp_path / "styles.csv"])) == ["red"]


def test_the_old_column_text_is_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text("name,text\nred,all red\n")
    assert read_styles([tmp_path / "styles.csv"]) == {"red": ("all red", "")}


def test_short_and_long_rows_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\nshort\nlong,a,b,c,d\n")
    assert read_styles([tmp_path / "styles.csv"]) == {"short": ("", ""), "long": ("a", "b")}


def test_of_two_styles_with_one_name_the_last_file_has_its_way(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text("name,prompt\nred,one\nblue,one\n")
    (tmp_path / "second.csv").write_text("name,prompt\nred,two\n")
    styles = read_styles([tmp_path / "first.csv", tmp_path / "second.csv"])
    assert (styles["red"][0], styles["blue"][0]) == ("two", "one")


def test_a_missing_or_empty_file_holds_no_styles(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert read_styles([tmp_path / "missing.csv", tmp_path / "empty.csv"]) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"name,prompt\nred,\xff\xfe\n",
        TABLE.encode("utf-16"),
        b"name,prompt\nred," + b"x" * 200_000,
    ],
    ids=["no UTF-8", "UTF-16", "a field without end"],
)
def test_a_file_that_cannot_be_understood_is_one_sentence_with_its_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_bytes(content)
    with pytest.raises(StylesError, match=r"^The styles file .*styles\.csv cannot be read: .*\.$"):
        read_styles([tmp_path / "styles.csv"])


def test_a_folder_is_no_styles_file(tmp_path: Path) -> None:
    with pytest.raises(StylesError, match="cannot be read"):
        read_styles([tmp_path])


STYLES = {
    "red": ("{prompt}, all red", "blue"),
    "sharp": ("sharp focus", ""),
    "empty": ("", ""),
    "Watercolour": ("watercolour of {prompt}", "photo"),
}


@given(
    st.lists(st.sampled_from(["red", "sharp", "Watercolour"]), unique=True), st.sampled_from(["", "fog", "fog, rain"])
)
def test_styles_are_recognised_at_the_ends_of_both_prompts(names: list[str], negative: str) -> None:
    """However they were applied, taking what is found off and putting it on again changes no letter."""
    styled = _apply(names, "a house", negative)
    found, *rest = find_styles(STYLES, *styled)
    assert sorted(found) == sorted(names)
    assert rest == ["a house", negative]
    assert _apply(found, *rest) == styled


@given(st.text("aredshpfocu, {}\n", max_size=40), st.text("blue, foghto", max_size=20))
def test_recognised_styles_never_change_the_prompt(prompt: str, negative: str) -> None:
    for text in (prompt, f"{prompt}, sharp focus", f"{prompt}sharp focus", f"watercolour of {prompt}, all red"):
        found, *rest = find_styles(STYLES, text, negative)
        assert not found or _apply(found, *rest) == (text, negative)


def test_a_style_is_not_taken_for_the_whole_prompt() -> None:
    assert find_styles(STYLES, "sharp focus", "") == ((), "sharp focus", "")


def _apply(names: Iterable[str], prompt: str, negative: str) -> tuple[str, str]:
    """As the built-in transform does it when an image is drawn."""
    (text,) = apply_styles(PromptText(prompt, negative, tuple(names)), Random(), PromptContext(STYLES))
    return text.positive, text.negative

"""Lists of tags as Tag Autocomplete has them, and what a word becomes."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdterm.core.prompt.completion import Tag, Tags, inserted, read_tags, word_before
from sdterm.core.prompt.emphasis import pieces

LIST = """\
1girl,0,4114588,"1girls,sole_female"
solo,0,3426446,"female_solo,solo_female"
long_hair,0,2898315,longhair
commentary_request,5,2610959,
very_long_hair,0,600000,
long_sleeves,0,1200000,
hatsune_miku_(append),4,1500,
re:zero,3,9000,
"""


@pytest.fixture
def tags(tmp_path: Path) -> Tags:
    tmp_path.joinpath("danbooru.csv").write_text(LIST, "utf-8")
    return read_tags(tmp_path)


def names(tags: Tags, word: str, limit: int = 8) -> list[str]:
    return [tag.name for tag in tags.complete(word, limit)]


def test_what_begins_like_the_word_comes_first_and_the_most_used_of_it(tags: Tags) -> None:
    assert names(tags, "long") == ["long_hair", "long_sleeves", "very_long_hair"]
    assert names(tags, "long", limit=2) == ["long_hair", "long_sleeves"]
    assert names(tags, "Long Ha") == names(tags, "long_ha") == ["long_hair", "very_long_hair"]
    assert names(tags, "hair") == ["long_hair", "very_long_hair"]


def test_an_alias_finds_its_tag_once(tags: Tags) -> None:
    assert tags.complete("sole") == [Tag("1girl", 4114588, ("1girls", "sole_female"))]
    assert names(tags, "female") == ["solo", "1girl"]


def test_a_word_with_escaped_brackets_finds_the_tag_with_brackets(tags: Tags) -> None:
    assert names(tags, r"hatsune miku \(app") == ["hatsune_miku_(append)"]


@pytest.mark.parametrize("word", ["", " ", "_", "\\", "\n", "xyzzy", "\0", "long\0"])
def test_a_word_that_is_none_finds_nothing(tags: Tags, word: str) -> None:
    assert tags.complete(word) == []


def test_any_names_can_be_completed() -> None:
    loras = Tags(Tag(f"<lora:{name}:1>") for name in ("smoke", "Fine Detail"))
    assert names(loras, "<lora:fi") == ["<lora:Fine Detail:1>"]
    assert names(Tags([Tag("Cinematic"), Tag("cine")]), "CINE") == ["Cinematic", "cine"]
    assert names(Tags(), "a") == []


def test_translations_find_the_tag_whether_two_or_three_columns(tmp_path: Path) -> None:
    tmp_path.joinpath("danbooru.csv").write_text(LIST, "utf-8")
    tmp_path.joinpath("zh.csv").write_text("1girl,0,一个女孩\nsolo,0,单人\nlong_hair,长发\n", "utf-8-sig")
    tags = read_tags(tmp_path)
    assert tags.complete("一个") == [Tag("1girl", 4114588, ("1girls", "sole_female", "一个女孩"))]
    assert names(tags, "长") == ["long_hair"]
    assert len(tags) == 8


def test_rows_and_files_that_are_none_cost_only_themselves(tmp_path: Path) -> None:
    rows = [
        b"first,0,10,",
        b"",
        b",0,5,",
        b'open "quote,0,7,',
        b'"never closed,0,7,',
        b"\xff\xfe broken,0,3,",
        b"ha\x1b[31mck,0,99,",
        b"no count",
        b"many,0,not a number,alias",
        b"x" * 5000 + b",0,9",
        b"y,0,1," + b"z" * 200_000,
        b"last,0,99999999999999999999,",
    ]
    tmp_path.joinpath("broken.csv").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))
    tmp_path.joinpath("folder.csv").mkdir()
    tmp_path.joinpath("gone.csv").symlink_to("nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "waits.csv")
    tags = read_tags(tmp_path)
    assert [tag.posts for tag in tags.complete("first")] == [10]
    assert names(tags, "last") == ["last"]
    assert names(tags, "no count") == ["no count"]
    assert names(tags, "alias") == ["many"]
    assert names(tags, "ck") == [], "names with control characters are none"
    assert read_tags(tmp_path / "nowhere").complete("a") == []


@given(st.lists(st.builds(Tag, st.text(max_size=8).filter(lambda name: "\0" not in name), st.integers(0, 9))))
def test_every_tag_is_found_by_its_name(found: list[Tag]) -> None:
    tags = Tags(found)
    for tag in found:
        complete = names(tags, tag.name, limit=len(found))
        assert tag.name in complete or not complete


@pytest.mark.parametrize(
    ("before", "word"),
    [
        ("a cat, long ha", "long ha"),
        ("long", "long"),
        ("a,\nlong_", "long_"),
        ("(a, (lon", "lon"),
        ("(cat:1.2) dog", "dog"),
        ("[cat:do", "do"),
        ("[cat|do", "do"),
        ("a AND b", "b"),
        ("a BREAK b", "b"),
        ("re:ze", "re:ze"),
        ("(a:1.2), :d", ":d"),
        (r"miku \(app", r"miku \(app"),
        ("a <lora:fine de", "<lora:fine de"),
        ("<", "<"),
        ("<lora:x:1> cat", "cat"),
        ("a <b, cat", "cat"),
        ("", ""),
        ("cat, ", ""),
    ],
)
def test_the_word_before_the_cursor_is_the_tag_that_is_typed(before: str, word: str) -> None:
    start, end = word_before(before + " behind, it", len(before))
    assert (before + " behind, it")[start:end] == word


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        ("a cat, lon", "long_hair", "a cat, long hair, |"),
        ("lon|, a cat", "long_hair", "long hair|, a cat"),
        ("lon| , a cat", "long_hair", "long hair| , a cat"),
        ("lon| a cat", "long_hair", "long hair, |a cat"),
        ("(lon|:1.2)", "long_hair", "(long hair|:1.2)"),
        ("hats", "hatsune_miku_(append)", r"hatsune miku \(append\), |"),
        ("s", r"\m/", r"\\m/, |"),
        ("o_", "o_o", "o_o, |"),
        ("^", "^_^", "^_^, |"),
        ("(", "(o)_(o)", r"(\(o\)_\(o\), |"),
    ],
)
def test_a_tag_takes_the_place_of_the_word(text: str, tag: str, expected: str) -> None:
    caret = text.index("|") if "|" in text else len(text)
    text = text.replace("|", "")
    edited = inserted(text, word_before(text, caret), Tag(tag))
    assert edited.selection[0] == edited.selection[1]
    at = edited.selection[0]
    assert f"{edited.text[:at]}|{edited.text[at:]}" == expected


def test_a_text_of_its_own_is_written_as_it_stands() -> None:
    edited = inserted("a <lora:fi", (2, 10), Tag("fine", text="<lora:fine_(v2):1>"))
    assert edited.text == "a <lora:fine_(v2):1>, "


@given(st.text("ab ()[]\\,:<>", max_size=20))
def test_a_tag_is_drawn_as_its_name_says(name: str) -> None:
    """Its brackets weigh nothing."""
    edited = inserted("", (0, 0), Tag(name))
    if name and not name.startswith("<"):
        assert [(piece.text, piece.weight) for piece in pieces(edited.text)] == [(name + ", ", 1.0)]


@example("::\\\n", 4)
@given(st.text("ab ()[]\\,:<>|\n", max_size=30), st.integers(0, 30))
def test_the_word_is_always_before_the_cursor(text: str, caret: int) -> None:
    caret = min(caret, len(text))
    start, end = word_before(text, caret)
    assert 0 <= start <= end == caret
    assert "\n" not in text[start:end]

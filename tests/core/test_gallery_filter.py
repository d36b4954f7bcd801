import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.gallery_filter import FilterError, Term, parameter, parse, sql

INFOTEXT = (
    "a lake, red house\nNegative prompt: blurry\n"
    'Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 7, Size: 512x768, Model: "a, b"'
)


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    found = sqlite3.connect(":memory:")
    found.create_function("parameter", 2, parameter, deterministic=True)
    found.execute("CREATE TABLE pictures (id, job, saved REAL, seed TEXT, width, height, infotext)")
    found.execute("CREATE VIRTUAL TABLE pictures_text USING fts5 (infotext)")
    found.execute("INSERT INTO pictures VALUES (1, 12, 1700000000, '7', 512, 768, ?)", (INFOTEXT,))
    found.execute("INSERT INTO pictures_text (rowid, infotext) VALUES (1, ?)", (INFOTEXT,))
    return found


def lets_through(database: sqlite3.Connection, text: str) -> bool:
    condition, values = sql(parse(text))
    return bool(database.execute(f"SELECT 1 FROM pictures p WHERE {condition}", values).fetchall())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lake",
        "RED hou",
        "sampler:dpm",
        'sampler:"dpm++ 2m"',
        "steps>=28 steps<29 steps:28",
        "cfg>6 cfg<=6.5",
        "seed:7",
        "size:512x768",
        "width=512 height>700",
        "job:12",
        "model:b",
        "schedule:karras -schedule:exponential",
        "-castle",
        "after:2023-01-01 before:2024-01-01",
    ],
)
def test_a_picture_is_let_through(database: sqlite3.Connection, text: str) -> None:
    assert lets_through(database, text)


@pytest.mark.parametrize(
    "text",
    ["castle", "-lake", "sampler:euler", "steps>28", "cfg<6", "-seed:7", "size:512x512", "after:2024-01-01", "model:c"],
)
def test_another_is_kept_back(database: sqlite3.Connection, text: str) -> None:
    assert not lets_through(database, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stps>=20", "Did you mean 'steps'"),
        ("steps>=many", "is no number"),
        ("size:512", "no size"),
        ("after:yesterday", "no date"),
        ("sampler>euler", "compared with : alone"),
        ("steps:", "needs a value"),
    ],
)
def test_what_cannot_be_understood_is_said(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        parse(text)


def test_quotation_marks_make_a_word_of_anything() -> None:
    assert parse('"steps>=x" -"a b') == (Term(None, ":", "steps>=x"), Term(None, ":", "a b", True))


PIECES = [*"abs:<>=-\" '();*%", "steps", "size", "7", "日", "\0"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_filter_breaks_the_statement(database: sqlite3.Connection, text: str) -> None:
    try:
        lets_through(database, text)
    except FilterError as error:
        assert str(error).endswith((".", '"'))

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.host.gallery_filter import NUMBERS, TEXTS, FilterError, Term, fact, facts, parse, sql

INFOTEXT = (
    "a lake, red house\nNegative prompt: blurry\n"
    'Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 7, Size: 512x768, Model: "ÄRGER, b"'
)


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    found = sqlite3.connect(":memory:")
    known = facts(INFOTEXT)
    found.execute(f"CREATE TABLE pictures (id, job, saved REAL, seed TEXT, width, height, {', '.join(known)})")
    found.execute("CREATE VIRTUAL TABLE pictures_text USING fts5 (infotext)")
    marks = ", ".join("?" * len(known))
    found.execute(f"INSERT INTO pictures VALUES (1, 12, 1700000000, '7', 512, 768, {marks})", [*known.values()])
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
        "model:Är",
        'MODEL:"ärger, b"',
        "clip:1",
        "-denoising:0.5",
        "-denoising>0",
        "seed:007",
        '"red house"',
        "schedule:karras -schedule:exponential",
        "-castle",
        "after:2023-01-01 before:2024-01-01",
    ],
)
def test_a_picture_is_let_through(database: sqlite3.Connection, text: str) -> None:
    assert lets_through(database, text)


@pytest.mark.parametrize(
    "text",
    [
        "castle",
        "-lake",
        "sampler:euler",
        "steps>28",
        "cfg<6",
        "-seed:7",
        "size:512x512",
        "after:2024-01-01",
        "model:c",
        "denoising>0",
        "denoising<=1",
        "clip:2",
        '"house red"',
        "seed:7.5",
        "seed:-1",
        "job:12 -width>500",
    ],
)
def test_another_is_kept_back(database: sqlite3.Connection, text: str) -> None:
    assert not lets_through(database, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stps>=20", "Did you mean 'steps'"),
        ("steps>=many", "is not a number"),
        ("size:512", "not a size"),
        ("after:yesterday", "not a date"),
        ("sampler>euler", "compared with : alone"),
        ("steps:", "needs a value"),
    ],
)
def test_what_cannot_be_understood_is_said(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        parse(text)


def test_quotation_marks_make_a_word_of_anything() -> None:
    assert parse('"steps>=x" -"a b') == (Term(None, ":", "steps>=x"), Term(None, ":", "a b", True))


def test_a_term_that_is_wrong_is_pointed_at() -> None:
    with pytest.raises(FilterError, match=r"steps>=x is not a number \(character 14\)\.") as caught:
        parse('"a b" lake   steps>=x cfg>1')
    assert caught.value.position == 13


def test_facts_are_those_of_the_infotext_and_nothing_where_it_says_nothing() -> None:
    known = facts(INFOTEXT)
    assert (known["sampler"], known["schedule"], known["model"]) == ("dpm++ 2m", "karras", "ärger, b")
    assert (known["steps"], known["cfg"], known["clip"], known["denoising"]) == (28.0, 6.5, 1.0, None)
    assert facts("Steps: 5, a prompt")["steps"] is None, "words of a prompt are no parameters"
    assert facts("x\nSteps: many, Seed: 1, Size: 1x1, CFG scale: 7")["steps"] is None
    assert facts("a\nSteps: 9, Seed: 1, Size: 1x1, Clip skip: 2")["clip"] == 2.0


@given(st.text(max_size=60) | st.text(max_size=20).map(lambda text: f"{INFOTEXT}, Model: {text}, CFG scale: {text}"))
def test_any_infotext_has_facts(text: str) -> None:
    known = facts(text)
    assert known.keys() == NUMBERS.keys() | TEXTS.keys()
    assert known == {column: fact(text, column) for column in known}


PIECES = ["abs:<>=-\" '();*%x", "steps", "size", "after", "seed", ":", ">=", "7", "日", "\0", "\ud800", "\n", "²"]
TERMS = st.lists(st.sampled_from([*PIECES, *'"-: ']), max_size=30).map("".join)


@given(TERMS | st.text(max_size=40))
def test_no_filter_breaks_the_statement(database: sqlite3.Connection, text: str) -> None:
    try:
        lets_through(database, text)
    except FilterError as error:
        assert str(error).endswith((".", '"', '".')) and 0 <= error.position < len(text)


WORDS = st.text("abcé7", min_size=1, max_size=8)
FILTERS = st.lists(
    st.builds(Term, st.none(), st.just(":"), WORDS, st.booleans())
    | st.builds(Term, st.sampled_from([*TEXTS]), st.sampled_from([":", "="]), WORDS, st.booleans())
    | st.builds(
        Term,
        st.sampled_from([*NUMBERS, "seed", "width", "height", "job"]),
        st.sampled_from([":", "=", "<", "<=", ">", ">="]),
        st.integers(-99, 99).map(str),
        st.booleans(),
    )
)


@given(FILTERS, st.sampled_from([" ", "  ", "\n\t"]), st.booleans())
def test_terms_are_read_as_they_were_written(terms: list[Term], between: str, quoted: bool) -> None:
    mark = '"' if quoted else ""
    written = (
        f"{'-' if t.negated else ''}{(t.field or '').upper()}{t.sign if t.field else ''}{mark}{t.value}{mark}"
        for t in terms
    )
    assert parse(between.join(written)) == tuple(terms)

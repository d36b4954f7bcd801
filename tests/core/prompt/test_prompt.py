"""The prompt language, against what A1111's own parsers make of the same texts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.prompt.analysis import read_prompt
from sdterm.core.prompt.chunks import chunks
from sdterm.core.prompt.composition import Part, composition
from sdterm.core.prompt.embeddings import Found, find_embeddings
from sdterm.core.prompt.emphasis import BREAK, pieces
from sdterm.core.prompt.lint import lint
from sdterm.core.prompt.networks import NetworkTag, extract, is_callable
from sdterm.core.prompt.schedule import drawn, parse, schedule
from sdterm.fields import MAX_PROMPT
from sdterm.hooks import TokenRules
from sdterm.plugins.sd import sd1

GOLDEN = json.loads(Path(__file__).parents[2].joinpath("golden", "prompt_parser.json").read_text("utf-8"))
each = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["prompt"][:40])

PASSES: dict[str, dict[str, Any]] = {
    "schedule_steps10": {"steps": 10},
    "schedule_steps1": {"steps": 1},
    "schedule_steps20": {"steps": 20},
    "schedule_steps10_hires10": {"steps": 10, "first_pass_steps": 10},
    "schedule_steps10_old": {"steps": 10, "old": True},
}

FAMILY = sd1.SD1
NETWORKS: dict[str, dict[str, str | None]] = {
    "lora": {"Fine Detail": "SD1", "smoke": None, "xl": "SDXL"},
    "hypernet": {"anime": None},
}

# Texts that look like prompts, and worse.
signs = st.sampled_from(
    [*"()[]:|\\<> \n,", "a", "BREAK", " AND ", "0.5", ":3]", ":1.2)", "[a:b:0.5]", "[c|d]", "<lora:x:1>", "é", "\0"]
)
texts = st.text(max_size=40) | st.lists(signs, max_size=30).map("".join)


@pytest.fixture(autouse=True)
def _prompt_in_the_report(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """For docs/compatibility.md."""
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if isinstance(case, dict):
        record_property("prompt", case["prompt"])


@each
def test_the_weights_are_those_of_a1111(case: dict[str, Any]) -> None:
    found = [[piece.text, piece.weight] for piece in pieces(case["prompt"])]
    if "ValueError" in str(case["parse_prompt_attention"]):
        assert found == [["a:1.2.3", 1.1]], "A1111 raises here; the number is text"
    else:
        assert found == case["parse_prompt_attention"]


@each
@pytest.mark.parametrize("name", PASSES)
def test_the_schedule_is_that_of_a1111(case: dict[str, Any], name: str) -> None:
    assert [[entry.until, entry.text] for entry in schedule(case["prompt"], **PASSES[name])] == case[name]


@each
def test_the_parts_are_those_of_a1111(case: dict[str, Any]) -> None:
    (expected,) = case["multicond"]["indexes_weights"]
    flat = case["multicond"]["flat"]
    assert [[part.text, part.weight] for part in composition(case["prompt"])] == [[flat[i], w] for i, w in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:\u30005]", [(5, "a"), (10, "b")]),  # any white space may stand around the number
        ("[a:b:\u0661]", [(10, "[a:b:\u0661]")]),  # but its digits are 0 to 9
        ("[a:b:1e1]", [(10, "a")]),
        ("[a:b:1e-1]", [(10, "b")]),  # no dot: not a share
        ("[a:b:1.5e-1]", [(1, "a"), (10, "b")]),
        ("a\\\n[b:c:1]", [(10, "a\\\n[b:c:1]")]),  # a backslash does not escape a line's end
        ("[[a:b:1]:[c|d]:2]", [(1, "a"), (2, "b"), *((n, "cd"[(n - 1) % 2]) for n in range(3, 11))]),
        ("[a:b:1e999]", [(10, "a")]),  # where A1111 fails
    ],
)
def test_numbers_are_those_of_a1111s_grammar(text: str, expected: list[tuple[int, str]]) -> None:
    """Seen in A1111's own grammar, run with lark 1.1.2."""
    assert [(entry.until, entry.text) for entry in schedule(text, 10)] == expected


def test_tags_leave_the_text_whatever_their_kind() -> None:
    assert extract("a <lora:b:0.5>c<x:y> <lora> <:z>") == (
        "a c <lora> <:z>",
        (NetworkTag("lora", ("b", "0.5"), (2, 14)), NetworkTag("x", ("y",), (15, 20))),
    )


def test_parts_tell_where_they_stand() -> None:
    assert composition("a :2 AND b") == (Part("a", 2.0, (0, 1)), Part(" b", 1.0, (8, 10)))


RULES = TokenRules(start=-1, end=-2, pad=-3, comma=0)


def test_a_chunk_that_overflows_near_a_comma_hands_on_what_follows_it() -> None:
    text = [*range(1, 61), 0, *range(61, 80)]
    first, second = chunks([(text, 1.5)], RULES)
    assert first.tokens == (-1, *text[:61], *[-3] * 14, -2) and first.count == 61
    assert second.tokens == (-1, *text[61:], *[-3] * 56, -2)
    assert first.weights == (1.0, *[1.5] * 61, *[1.0] * 15)
    far = [1, 0, *range(2, 90)]
    assert chunks([(far, 1.0)], RULES)[0].tokens == (-1, *far[:75], -2)


def test_a_break_ends_a_chunk_even_an_empty_one() -> None:
    assert [chunk.count for chunk in chunks([([], 1.0), (None, BREAK), ([5], 1.0)], RULES)] == [0, 1]
    assert [chunk.count for chunk in chunks([], RULES)] == [0]


def test_the_longest_name_of_an_embedding_wins() -> None:
    names = {"bad": [7], "bad hands": [7, 8], "hands": [8], "unsaid": []}
    assert find_embeddings([1, 7, 8, 7, 9, 8], names) == (
        Found("bad hands", 1, 2),
        Found("bad", 3, 1),
        Found("hands", 5, 1),
    )


@given(texts, st.integers(1, 30))
def test_any_text_can_be_read(text: str, calls: int) -> None:
    """Nothing raises, every span lies in the text, and every call has a text."""
    for negative in (False, True):
        reading = read_prompt(text, calls, negative=negative, networks=NETWORKS)
        assert reading.parts
        for part in reading.parts:
            assert [v.first for v in part.schedule] == [1, *(v.last + 1 for v in part.schedule[:-1])]
            assert part.schedule[-1].last == calls
            spans = [*(row.span for row in part.tree), *(p.span for v in part.schedule for p in v.pieces)]
            assert all(0 <= start <= end <= len(part.text) for start, end in spans)
        assert all(0 <= start < end <= len(text) for start, end in (found.span for found in reading.lint))


@given(texts)
def test_a_text_without_schedules_is_drawn_as_it_stands(text: str) -> None:
    tree = parse(text)
    if not any(hasattr(node, "when") or hasattr(node, "options") for node in tree.walk()):
        assert drawn(tree) == text
        assert [(entry.until, entry.text) for entry in schedule(text, 7)] == [(7, text)]


@given(st.text(st.characters(exclude_characters="()[]:|\\<"), max_size=200))
def test_plain_text_is_one_piece(text: str) -> None:
    if "BREAK" not in text:
        assert [(piece.text, piece.weight) for piece in pieces(text)] == [(text, 1.0)]


HOSTILE = [
    "(",
    "[",
    "([",
    ")",
    "(a",
    "(a:1.01)",
    "[a:",
    "[a|",
    "[a:b:1]",
    "[a|b]",
    "[a:b|c:0.5]",
    "|",
    ":",
    ": ",
    ":1",
    "\\",
    " ",
    "<a:",
    "<lora:abc>",
    "(BREAK ",
    "   BREAK",
    " AND ",
    "(a:1.2.3)",
]


@pytest.mark.few(3)
@pytest.mark.parametrize("sign", [" ", ": ", ":1", "<a:", "a BREA", "(:1.2.", "\\"])
def test_the_longest_prompts_are_read(sign: str) -> None:
    """At full length: a pattern that tries the rest again from each character takes minutes here."""
    read_prompt((sign * MAX_PROMPT)[:MAX_PROMPT], 3, networks=NETWORKS)


@pytest.mark.few(1)
@pytest.mark.parametrize(("opener", "closer"), [("(", ")"), ("[", "]"), ("[", ":1]"), ("[", "|b]"), ("(a", ":1.01)")])
def test_the_deepest_nests_are_read(opener: str, closer: str) -> None:
    depth = MAX_PROMPT // len(opener + closer)
    read_prompt(opener * depth + closer * depth, 3, networks=NETWORKS)


@pytest.mark.parametrize("sign", HOSTILE)
def test_work_grows_with_the_text_and_no_faster(sign: str) -> None:
    """Lines run in the prompt's modules, which do not depend on the machine."""

    def work(size: int) -> int:
        lines = 0

        def count(frame: FrameType, event: str, _: object) -> Any:
            nonlocal lines
            if "core/prompt" not in frame.f_code.co_filename.replace("\\", "/"):
                return None
            lines += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            read_prompt((sign * size)[:size], 2, networks=NETWORKS)
        finally:
            sys.settrace(before)
        return lines

    assert work(2000) < 4.5 * work(500) + 100


def test_deep_nests_weigh_what_a1111_makes_of_them_but_for_the_last_bits() -> None:
    (piece,) = pieces("(" * 100 + "a" + ")" * 100)
    assert piece.weight == pytest.approx(1.1**100, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "blamed", "fixed"),
    [
        ("aspect 16:9", ":9", "aspect 16:\\9"),
        ("a smile :3 <lora:smoke:1>", ":3", "a smile :\\3 <lora:smoke:1>"),
        ("(a BREAK b:1.2)", " BREAK ", "(a:1.2) BREAK (b:1.2)"),
        ("((a BREAK b:1.2)", " BREAK ", "((a:1.2)) BREAK ((b:1.2)"),
        ("([a|b BREAK c]:1.2)", " BREAK ", None),
        ("[a:b|c:0.5] d", "[a:b|c:0.5]", "[a:[b|c]:0.5] d"),
        ("[a|b:c:0.5]", "[a|b:c:0.5]", "[[a|b]:c:0.5]"),
        ("a|b", "|", "a\\|b"),
        ("(a|b)", "(a|b)", None),
        ("a \\", "\\", "a "),
        ("(a:1.2.3)", "1.2.3", "(a:1.2)"),
        ("(a", "(", "\\(a"),
        ("a]", "]", "a\\]"),
        ("[a:1.2]", "[a:1.2]", "(a:1.2)"),
        ("<lora:smole:1> a", "<lora:smole:1>", None),
        ("<what:ever> a", "<what:ever>", " a"),
    ],
)
def test_a_trap_is_found_and_its_fix_mends_it(text: str, blamed: str, fixed: str | None) -> None:
    found = next(found for found in lint(text, networks=NETWORKS) if text[slice(*found.span)] == blamed)
    assert (found.fix is None) == (fixed is None)
    if fixed is not None and found.fix is not None:
        start, end = found.span
        assert text[:start] + found.fix + text[end:] == fixed
        assert found.message not in [left.message for left in lint(fixed, networks=NETWORKS)]


def test_a_tag_in_a_negative_prompt_is_found_there_only() -> None:
    text = "blurry <lora:smoke:1>"
    (found,) = lint(text, negative=True, networks=NETWORKS)
    assert text[slice(*found.span)] == "<lora:smoke:1>" and found.fix == ""
    assert lint(text, networks=NETWORKS) == ()


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    (found,) = lint("<lora:smole:1>", networks=NETWORKS)
    assert "'smoke'" in found.message


def test_a_network_for_other_models_is_told() -> None:
    text = "a <lora:xl:1> <lora:Fine Detail:1>"
    (found,) = lint(text, networks=NETWORKS, family=FAMILY)
    assert text[slice(*found.span)] == "<lora:xl:1>" and found.fix is None
    assert f"'xl' is made for SDXL, but the model is {FAMILY.label}" in found.message
    assert lint(text, networks=NETWORKS) == ()


@pytest.mark.parametrize("name, can", [("a b(c)_é", True), ("a:b", False), ("a>b", False), ("a=b", False), ("", False)])
def test_names_that_a_tag_can_call(name: str, can: bool) -> None:
    assert is_callable("lora", name) == can


def test_the_word_where_the_first_chunk_is_full_is_found() -> None:
    text = "red, " * 37 + "last, word"
    (found,) = lint(text, family=FAMILY)
    assert text[slice(*found.span)].strip() == ","
    assert lint("red, " * 37 + "last BREAK word, and more", family=FAMILY) == ()


@pytest.mark.parametrize(
    "text",
    [
        "a (red:1.2) [cat:dog:0.5] house BREAK sea",
        "a cat :1.2 AND a dog :0.8",
        "[a|b] [c:0.9] [d::3]",
        "\\(a\\) 16:9,",
        "<lora:smoke:0.5> <hypernet:anime> <lyco:Fine Detail>",
        "[BREAK|a]",
        "(a BREAK b:1)",
        "([a BREAK b])",
        "",
    ],
)
def test_what_does_as_it_looks_is_left_alone(text: str) -> None:
    assert lint(text, networks=NETWORKS, family=FAMILY) == ()

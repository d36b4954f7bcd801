"""The prompt language: A1111's own results for 71 prompts, any text at all, and the traps."""

import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdterm.core.prompt import emphasis, lint
from sdterm.core.prompt.analysis import analyse
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.networks import extract
from sdterm.core.prompt.schedule import parse, schedule
from tests.tiny_checkpoint import GOLDEN

CASES = json.loads((GOLDEN / "prompt_parser.json").read_text())
PASSES = {
    "schedule_steps10": (10, {}),
    "schedule_steps1": (1, {}),
    "schedule_steps20": (20, {}),
    "schedule_steps10_hires10": (10, {"first_pass_steps": 10}),
    "schedule_steps10_old": (10, {"old": True}),
}
FRAGMENTS = [
    "(",
    ")",
    "[",
    "]",
    ":",
    "|",
    "\\",
    "a",
    " ",
    "0.5",
    "1.2.3",
    "BREAK",
    "AND",
    "<lora:",
    ">",
    ",",
    "\n",
    "é😀",
]
PROMPTS = st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join)


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["prompt"])[:40])
def test_schedules_are_a1111s(case: dict) -> None:
    for name, (steps, options) in PASSES.items():
        entries = schedule(case["prompt"], steps, **options)
        assert [[entry.until, entry.text] for entry in entries] == case[name], name


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["prompt"])[:40])
def test_weights_are_a1111s(case: dict) -> None:
    golden = case["parse_prompt_attention"]
    if "error" in golden:  # where A1111 stops, the odd number is text
        golden = [["a:1.2.3", 1.1]]
    assert [[piece.text, piece.weight] for piece in pieces(case["prompt"])] == golden


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["prompt"])[:40])
def test_compositions_are_a1111s(case: dict) -> None:
    golden = case["multicond"]
    parts = [(golden["flat"][index], weight) for index, weight in golden["indexes_weights"][0]]
    assert [(part.text, part.weight) for part in composition(case["prompt"])] == parts


@given(PROMPTS, st.integers(1, 12))
def test_any_text_is_read_and_no_finding_lies_outside_it(text: str, calls: int) -> None:
    for negative in (False, True):
        analysis = analyse(text, calls, negative=negative, networks=())
        assert all(0 <= start <= end <= len(text) for start, end in (f.span for f in analysis.findings))
        for _, stretches in analysis.parts:
            assert [s.first for s in stretches] == [1, *(s.last + 1 for s in stretches[:-1])]
            assert stretches[-1].last == calls


@given(PROMPTS)
def test_spans_say_where_things_stand(text: str) -> None:
    for part in composition(text):
        assert text[slice(*part.span)] == part.text
    for tag in extract(text)[1]:
        assert text[slice(*tag.span)] == f"<{tag.kind}:{':'.join(tag.args)}>"
    whole = [piece.span for piece in pieces(text)]
    assert all(start <= end for start, end in whole) and whole == sorted(whole)


@given(st.text(alphabet=st.characters(exclude_characters="()[]:|\\<")))
def test_text_without_syntax_stays_as_it_is(text: str) -> None:
    if "BREAK" not in text and "AND" not in text:
        assert [entry.text for entry in schedule(text, 10)] == [text]
        assert "".join(piece.text for piece in pieces(text)) == text


def steps_of(text: str) -> int:
    """Lines of sdterm's code that run to read a text: what grows with it, whatever machine this is."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        pieces(text)
        parse(text)
        composition(text)
        lint.lint(text, networks=())
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        " ",
        "(a",
        "[a:",
        "(a)",
        "[a:b:1]",
        "[a|b]",
        ")",
        ":1",
        "a AND b:1",
        " BREAK ",
        "(x BREAK y:2)",
        "<lora:",
        "1.",
    ],
)
def test_work_grows_with_the_length_and_no_faster(pattern: str) -> None:
    once, fourfold = steps_of(pattern * 300), steps_of(pattern * 1200)
    assert fourfold <= 4.5 * once + 1000


def test_thousands_of_brackets_weigh_what_they_would_one_by_one() -> None:
    deep, shallow = 100, 60
    (piece,) = pieces("(" * deep + "a" + ")" * deep)
    assert piece.weight == pytest.approx(1.1**deep)
    assert deep > emphasis._EXACT_DEPTH > shallow
    (piece,) = pieces("(" * shallow + "a" + ")" * shallow)
    assert piece.weight == pytest.approx(1.1**shallow)


@pytest.mark.parametrize(
    ("text", "code", "place", "fix"),
    [
        ("aspect 16:9", "trailing-weight", ":9", ":9,"),
        ("a (b BREAK c:1.2) d", "break-in-brackets", "BREAK", ") BREAK ("),
        ("[a:b|c:0.5]", "mixed-switch", "[a:b|c:0.5]", "[a:[b|c]:0.5]"),
        ("(a:1.2.3) b", "weight", "1.2.3", "1.2"),
        ("(a", "open-bracket", "(", "\\("),
        ("a]", "stray-bracket", "]", "\\]"),
        ("[a:1.2]", "square-weight", "[a:1.2]", "(a:1.2)"),
        ("a <lora:x:1>", "unknown-network", "<lora:x:1>", None),
        ("a <what:x>", "unknown-tag", "<what:x>", ""),
        ("[a:b]", "no-switch", "[a:b]", None),
        ("a | b, [c:d:3]", "literal-prompt", "|", None),
    ],
)
def test_each_trap_is_found_in_its_place_with_a_fix(text: str, code: str, place: str, fix: str | None) -> None:
    (finding,) = lint.lint(text, networks={"y"})
    assert (finding.code, text[slice(*finding.span)], finding.fix) == (code, place, fix)
    if fix is not None:
        start, end = finding.span
        assert code not in {f.code for f in lint.lint(text[:start] + fix + text[end:], networks={"y"})}


@pytest.mark.parametrize(
    "text", ["a house", "(a:1.3) [b], [c:d:0.5] [e|f] AND g:0.8", "\\(a\\) b", "a BREAK b", "<lora:y:1> (a)", "[a::3]"]
)
def test_what_does_as_it_seems_is_not_found(text: str) -> None:
    assert lint.lint(text, networks={"Y"}) == ()


def test_in_a_negative_prompt_a_tag_is_found_and_a_last_number_is_not() -> None:
    (finding,) = lint.lint("fog <lora:y:1> 16:9", negative=True, networks={"y"})
    assert finding.code == "negative-tag"


@example("<a:b")
@given(st.text())
def test_taking_tags_out_leaves_the_rest(text: str) -> None:
    rest, tags = extract(text)
    assert len(rest) == len(text) - sum(end - start for start, end in (tag.span for tag in tags))

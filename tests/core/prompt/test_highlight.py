"""The grammar as an editor colours it, against what the parsers make of the same text."""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.highlight import Mark, highlight
from sdterm.core.prompt.networks import tags

signs = st.sampled_from(
    [*"()[]:|\\<> \n,", "a", "BREAK", " AND ", "0.5", ":3]", ":1.2)", "[a:b:0.5]", "[c|d]", "<lora:x:1>", "é", "\0"]
)
texts = st.text(max_size=40) | st.lists(signs, max_size=30).map("".join)


def shown(text: str, *, negative: bool = False) -> list[tuple[str, str]]:
    return [(mark.kind, text[mark.start : mark.end]) for mark in highlight(text, negative=negative)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat, sitting", []),
        ("a (cat:1.2)", [("bracket", "("), ("more", "cat"), ("bracket", ":1.2)")]),
        ("a [cat]", [("bracket", "["), ("less", "cat"), ("bracket", "]")]),
        ("(cat:1)", [("bracket", "("), ("bracket", ":1)")]),
        ("(everything after it", [("bracket", "("), ("more", "everything after it")]),
        ("[a:b:0.5]", [("scheduled", "["), ("scheduled", ":"), ("scheduled", ":0.5]")]),
        ("[a:5]", [("scheduled", "["), ("scheduled", ":5]")]),
        ("[a|b|]", [("alternate", "["), ("alternate", "|"), ("alternate", "|]")]),
        ("a | b", []),
        ("<lora:x:0.8> cat", [("network", "<lora:x:0.8>")]),
        ("a AND b :1.2 AND c:2 ", [("and", "AND"), ("and", ":1.2"), ("and", "AND"), ("and", ":2")]),
        ("a <lora:x:1> AND b", [("network", "<lora:x:1>"), ("and", "AND")]),
        ("a BREAK b", [("break", "BREAK")]),
        ("(BREAK)", [("bracket", "("), ("less", "BREAK"), ("bracket", ")")]),
        (r"\(a\) \\", [("escape", r"\("), ("escape", r"\)"), ("escape", r"\\")]),
        (r"(\(:1.2)", [("bracket", "("), ("more", r"\("), ("escape", r"\("), ("bracket", ":1.2)")]),
    ],
)
def test_each_kind_is_marked_where_it_stands(text: str, expected: list[tuple[str, str]]) -> None:
    assert shown(text) == expected


def test_emphasis_in_a_schedule_is_marked_and_the_other_way_round() -> None:
    inner = [("bracket", "("), ("more", "a"), ("bracket", ":1.2)")]
    assert shown("[(a:1.2)|b]") == [("alternate", "["), *inner, ("alternate", "|"), ("alternate", "]")]
    signs = [("scheduled", "["), ("scheduled", ":"), ("scheduled", ":3]")]
    assert shown("([a:b:3]:1.2)") == [("bracket", "("), ("more", "[a:b:3]"), *signs, ("bracket", ":1.2)")]


def test_a_negative_prompt_has_no_networks_and_no_parts() -> None:
    assert shown("<lora:x:1> AND (b:1.2)", negative=True) == [("bracket", "("), ("more", "b"), ("bracket", ":1.2)")]


@given(st.lists(st.sampled_from(["a", "b c", "(", ")", "[", "]", ":1.2)", ":0.3)", ",", "x:y"])).map("".join))
def test_the_weights_are_those_that_are_drawn(text: str) -> None:
    """Where nothing is scheduled."""
    weights = [1.0] * len(text)
    marks = highlight(text, negative=True)
    for mark in marks:
        if mark.kind in ("scheduled", "alternate"):
            return
        if mark.kind in ("more", "less"):
            weights[mark.start : mark.end] = [mark.weight] * (mark.end - mark.start)
    drawn = [weight for piece in pieces(text) for weight in [piece.weight] * len(piece.text) if piece.text.strip()]
    hidden = {at for mark in marks if mark.kind == "bracket" for at in range(mark.start, mark.end)}
    assert [weight for at, weight in enumerate(weights) if at not in hidden] == drawn


@given(texts, st.booleans())
def test_marks_of_any_text_are_in_order_and_lie_in_it_and_in_one_another(text: str, negative: bool) -> None:
    marks = highlight(text, negative=negative)
    assert [(mark.start, -mark.end) for mark in marks] == sorted((mark.start, -mark.end) for mark in marks)
    around: list[Mark] = []
    for mark in marks:
        assert 0 <= mark.start < mark.end <= len(text)
        while around and around[-1].end <= mark.start:
            around.pop()
        assert not around or mark.end <= around[-1].end
        around.append(mark)
    networks = [(mark.start, mark.end) for mark in marks if mark.kind == "network"]
    assert networks == ([] if negative else [tag.span for tag in tags(text)])


@pytest.mark.parametrize(
    "sign", ["(", "[", ":", "[a|", "(a:1.1)", "\\(", " AND ", "BREAK ", "<a:", "[a:", "[[a:1]:b:2]"]
)
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
            highlight((sign * size)[:size])
        finally:
            sys.settrace(before)
        return lines

    assert work(2000) < 4.5 * work(500) + 100

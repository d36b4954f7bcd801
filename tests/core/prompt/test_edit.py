"""Weights and phrases by key, against what A1111's own key handlers do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.prompt.edit import Edited, emphasise, move_phrase
from sdterm.core.prompt.emphasis import pieces

GOLDEN = json.loads(Path(__file__).parents[2].joinpath("golden", "prompt_edit.json").read_text("utf-8"))
KEYS: dict[str, tuple[Callable[[str, int, int, int], Edited], int]] = {
    "up": (emphasise, 1),
    "down": (emphasise, -1),
    "left": (move_phrase, -1),
    "right": (move_phrase, 1),
}

signs = st.sampled_from(
    [*"()[]:<>,. \n", "a", "word", "(a:1.1)", "[[b]]", "<lora:x:1>", ":0.9)", ":1e-7)", ":1e999)", ":Infinity)", "é"]
)
texts = st.text(max_size=30) | st.lists(signs, max_size=20).map("".join)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_does_what_it_does_in_a1111(key: str) -> None:
    edit, direction = KEYS[key]
    cases = [case for case in GOLDEN if case[2] == key]
    assert cases
    for text, (start, end), _, expected, selected in cases:
        assert edit(text, start, end, direction) == Edited(expected, tuple(selected)), (text, start, end)


@given(texts, st.data(), st.sampled_from([*KEYS]))
def test_any_text_can_be_edited(text: str, data: st.DataObject, key: str) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    edit, direction = KEYS[key]
    edited = edit(text, start, end, direction)
    assert 0 <= edited.selection[0] <= edited.selection[1] <= len(edited.text)


@given(st.lists(st.sampled_from(["a cat", " dog", "", " (x:1.2)"]), min_size=1, max_size=6).map(",".join), st.data())
def test_a_phrase_that_was_moved_can_be_moved_back(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    there = move_phrase(text, start, end, 1)
    assert sorted(there.text.split(",")) == sorted(text.split(","))
    if there.text != text:
        assert move_phrase(there.text, *there.selection, -1).text == text


@given(st.integers(1, 40))
def test_as_many_steps_down_as_up_leave_the_word_as_it_was(steps: int) -> None:
    edited = Edited("a cat, sitting", (3, 3))
    for _ in range(steps):
        edited = emphasise(edited.text, *edited.selection, 1)
    (weight,) = (piece.weight for piece in pieces(edited.text) if piece.text == "cat")
    assert weight == pytest.approx(1 + steps / 10)
    for _ in range(steps):
        edited = emphasise(edited.text, *edited.selection, -1)
    assert edited == Edited("a cat, sitting", (2, 5))


def test_a_very_small_weight_is_written_so_that_it_is_read_again() -> None:
    edited = emphasise("(a:0.1000001)", 2, 2, -1)
    (piece,) = pieces(edited.text)
    assert piece.text == "a" and piece.weight == pytest.approx(1e-7), "A1111 writes 1e-7 here, and draws it as text"


def test_brackets_by_the_thousand_are_no_weight() -> None:
    text = "(" * 9000 + "a" + ")" * 9000
    assert emphasise(text, 9000, 9000, 1).text == text

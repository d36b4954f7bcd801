"""The prompt language, against what A1111's own parsers make of the same texts."""

import json
from pathlib import Path

import pytest

from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import pieces
from sdterm.core.prompt.schedule import schedule

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden", "prompt_parser.json").read_text("utf-8"))
each = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["prompt"][:40])

PASSES = {
    "schedule_steps10": {"steps": 10},
    "schedule_steps1": {"steps": 1},
    "schedule_steps20": {"steps": 20},
    "schedule_steps10_hires10": {"steps": 10, "first_pass_steps": 10},
    "schedule_steps10_old": {"steps": 10, "old": True},
}


@each
def test_the_weights_are_those_of_a1111(case):
    if "error" in str(case["parse_prompt_attention"]).lower():
        pytest.skip("A1111 raises")
    assert [[piece.text, piece.weight] for piece in pieces(case["prompt"])] == case["parse_prompt_attention"]


@each
@pytest.mark.parametrize("name", PASSES)
def test_the_schedule_is_that_of_a1111(case, name):
    assert [[entry.until, entry.text] for entry in schedule(case["prompt"], **PASSES[name])] == case[name]


@each
def test_the_parts_are_those_of_a1111(case):
    (expected,) = case["multicond"]["indexes_weights"]
    flat = case["multicond"]["flat"]
    assert [[part.text, part.weight] for part in composition(case["prompt"])] == [[flat[i], w] for i, w in expected]

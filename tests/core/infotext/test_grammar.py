"""Infotext in A1111's grammar, written and read."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.core.infotext import grammar as infotext

LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60).map(str.strip)
PROMPTS = LINE.filter(lambda text: text and not text.startswith("Negative prompt:"))
PARAMETERS = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7.0, "Seed": 5, "Size": "64x128"}

# The pattern with which A1111 1.9.4 takes the last line apart.
A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


@given(PROMPTS, st.just("") | PROMPTS, LINE)
def test_what_is_written_is_read_back(prompt: str, negative: str, model: str) -> None:
    text = infotext.write(prompt, negative, PARAMETERS | {"Model": model, "Nothing": None})
    parsed = infotext.parse(text)
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, negative)
    assert dict(parsed.parameters) == {k: str(v) for k, v in PARAMETERS.items()} | {"Model": model}


@given(st.text())
def test_any_text_is_read_without_complaint(text: str) -> None:
    infotext.parse(text)


@given(
    st.text('ab1_-/ :,"\\(é\t')
    | st.lists(st.sampled_from(["Steps: 20", ", ", "x: ", '"a, b"', "Key a", ":", "é/"])).map("".join)
)
def test_a_line_is_taken_apart_exactly_as_a1111s_pattern_does(line: str) -> None:
    line = "Aa: 1, Bb: 2, Cc: 3, " + line
    theirs = {key: value for key, value in A1111.findall(line.strip())}
    parsed = infotext.parse(line).parameters
    ours = {key: value for key, value in parsed.items() if key in theirs or key != value}
    assert ours == {key: _unquoted(value) for key, value in theirs.items()}


def _unquoted(value: str) -> str:
    try:
        return json.loads(value) if re.fullmatch('".*"', value) else value.strip()
    except ValueError:
        return value


def test_unknown_keys_are_kept_and_values_with_commas_are_quoted() -> None:
    text = 'a cat\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: "x: 12ab, y: 34cd", ADetailer model: face.pt'
    parsed = infotext.parse(text)
    assert parsed.parameters["Lora hashes"] == "x: 12ab, y: 34cd"
    assert parsed.parameters["ADetailer model"] == "face.pt"
    assert infotext.write(parsed.prompt, parsed.negative_prompt, parsed.parameters) == text


def test_a_value_that_equals_its_key_leaves_the_key_alone() -> None:
    text = infotext.write("a", "", {"Steps": 1, "Model": "Model", "Seed": 2, "Size": "8x8"})
    assert text == "a\nSteps: 1, Model, Seed: 2, Size: 8x8"
    assert dict(infotext.parse(text).parameters) == {"Steps": "1", "Model": "Model", "Seed": "2", "Size": "8x8"}


def test_the_last_line_holds_parameters_from_three_pairs_on() -> None:
    assert infotext.parse("a house\nstyle: x, mood: y").prompt == "a house\nstyle: x, mood: y"
    assert infotext.parse("a house\nstyle: x, mood: y, light: z").parameters["mood"] == "y"  # A1111 misreads it too


@pytest.mark.parametrize(
    "text",
    ["a " * 200_000, 'a: "' * 100_000, 'aa:"\\' * 100_000, 'aa:"\\",' * 100_000, "aa" + ":" * 200_000, ", " * 200_000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_a_long_text_is_read_in_linear_time(text: str) -> None:
    """Files come from anywhere; a few hundred KB must not hold up whoever looks at them. Work that grew with the square
    of the length would take many minutes."""
    began = time.thread_time()
    infotext.parse(text)
    assert time.thread_time() - began < 60


def test_half_a_character_that_json_names_is_left_as_it_stands() -> None:
    value = infotext.parse(r'a\nSteps: 1, Seed: 2, Size: 8x8, Odd: "\ud800, x"'.replace("\\n", "\n", 1)).parameters[
        "Odd"
    ]
    assert value == r'"\ud800, x"'


def test_a_prompt_may_look_like_parameters_and_span_lines() -> None:
    prompt = "a: 1, b: 2, c: 3\nSteps: 20, Sampler: x, Seed: 1\n\nand (more:1.2)"
    parsed = infotext.parse(infotext.write(prompt, "bad,\nworse: 2", PARAMETERS))
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, "bad,\nworse: 2")

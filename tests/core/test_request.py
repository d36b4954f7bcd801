"""A request is valid, or one sentence says what is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.request import GenerationRequest, RequestError, make_request

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_make_a_request_or_one_sentence(prompt: str, negative: str) -> None:
    try:
        request = make_request(prompt=prompt, negative_prompt=negative)
    except RequestError as error:
        assert str(error).startswith(("prompt", "negative_prompt")) and "\n" not in str(error)
    else:
        assert (request.prompt, request.negative_prompt) == (prompt, negative)


@given(st.dictionaries(st.sampled_from([*GenerationRequest.model_fields, "no_such_field"]), ANYTHING, max_size=4))
def test_any_values_make_a_request_or_one_sentence(fields: dict[str, Any]) -> None:
    try:
        make_request(**({"prompt": "cat"} | fields))
    except RequestError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"steps": 0}, "steps is 0, but it must be a whole number from 1 to 1000."),
        ({"width": 100}, "width is 100, but it must be a multiple of 8 from 64 to 4096."),
        ({"cfg_scale": "hot"}, "cfg_scale is 'hot', but it must be a number from 0 to 100."),
        ({"noise_source": "X"}, "noise_source is 'X', but it must be one of NV, CPU."),
        ({"prompt": " \n"}, "prompt must not be empty."),
        ({"sampler_options": 3}, "sampler_options is 3, but it must be a table."),
        ({"memory": 3}, "memory is 3, but it must be a list."),
        ({"stpes": 3}, "A request has no field 'stpes'."),
    ],
)
def test_the_sentence_names_field_value_and_range(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        make_request(**({"prompt": "cat"} | fields))
    assert str(raised.value) == sentence


def test_a_request_survives_json() -> None:
    request = make_request(prompt="cat 🐈", seed=2**63 - 1, memory=("sliced",), sampler_options={"eta": 0.5})
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request

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
        ({"cfg_scale": "hot"}, "cfg_scale is 'hot', but it must be a number from -100 to 100."),
        ({"noise_source": "X"}, "noise_source is 'X', but it must be one of NV, CPU, GPU."),
        ({"sampler_options": 3}, "sampler_options is 3, but it must be a table."),
        ({"memory": 3}, "memory is 3, but it must be a list."),
        ({"stpes": 3}, "A request has no field 'stpes'."),
        ({"prompt": 7}, "prompt is 7, but it must be text."),
        ({"prompt": "a\x1b[2J"}, "prompt has the control character U+001B at position 1; remove it."),
        ({"prompt": "x" * 65_537}, "prompt has 65,537 characters; the limit is 65,536. Shorten it."),
        (
            {"seed": 2**63},
            "seed is 9223372036854775808, but it must be a whole number from -9223372036854775808 to "
            "9223372036854775807.",
        ),
        ({"cfg_scale": float("nan")}, "cfg_scale is nan, but it must be a number from -100 to 100."),
        ({"height": 8192}, "height is 8192, but it must be a multiple of 8 from 64 to 4096."),
        ({"batch_size": 0}, "batch_size is 0, but it must be a whole number from 1 to 64."),
        ({"clip_skip": 13}, "clip_skip is 13, but it must be a whole number from 1 to 12."),
        ({"precision": "double"}, "precision is 'double', but it must be one of auto, full, half, bf16."),
        ({"batch_cond_uncond": "maybe"}, "batch_cond_uncond is 'maybe', but it must be true or false."),
        ({"styles": ["ok", 7]}, "styles.1 is 7, but it must be text."),
        (
            {"sampler_options": {"eta": None}},
            "sampler_options.eta is None, but it must be a number, text, true or false.",
        ),
    ],
)
def test_the_sentence_names_field_value_and_range(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        make_request(**({"prompt": "cat"} | fields))
    assert str(raised.value) == sentence


def test_a_request_without_a_prompt_says_what_is_missing() -> None:
    with pytest.raises(RequestError, match=r"^prompt is missing\.$"):
        make_request(steps=3)


@pytest.mark.parametrize("field", ["seed", "steps", "width", "cfg_scale"])
def test_a_number_too_long_to_print_is_one_sentence(field: str) -> None:
    """Python refuses to write out whole numbers of more than 4,300 digits."""
    with pytest.raises(RequestError, match=field):
        make_request(prompt="cat", **{field: 10**5000})


SURROGATES = st.text(st.characters(codec=None), max_size=50)  # as a terminal with a broken locale hands them over


@given(SURROGATES, SURROGATES)
def test_text_that_is_no_unicode_is_one_sentence(prompt: str, model: str) -> None:
    try:
        make_request(prompt=prompt, model=model)
    except RequestError as error:
        str(error).encode()
    else:
        (prompt + model).encode()


def test_a_request_never_changes() -> None:
    request = make_request(prompt="cat")
    with pytest.raises(ValueError, match="frozen"):
        request.steps = 3  # type: ignore[misc]


def test_a_request_survives_json() -> None:
    request = make_request(prompt="cat 🐈", seed=2**63 - 1, memory=("sliced",), sampler_options={"eta": 0.5})
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request

"""Networks put into a prompt."""

import pytest

from sdterm.core.prompt.calling import reweighed, with_network, with_words


@pytest.mark.parametrize(
    ("text", "weight", "words", "expected"),
    [
        ("", 1.0, "", "<lora:ink:1>"),
        ("a cat, ", 0.7, "inkpunk", "a cat, <lora:ink:0.7> inkpunk"),
        ("a <lora:ink:0.2> cat", 1.0, "inkpunk", "a <lora:ink:0.2> cat"),
        ("a <lora:inky:0.2> cat", 1.0, "", "a <lora:inky:0.2> cat <lora:ink:1>"),
        ("a <hypernet:ink:1>", 1.0, "", "a <hypernet:ink:1> <lora:ink:1>"),
    ],
)
def test_a_network_is_called_once(text: str, weight: float, words: str, expected: str) -> None:
    assert with_network(text, "lora", "ink", weight, words) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <lora:ink:0.7> b", "a <lora:ink:0.8> b"),
        ("a <lora:ink> b", "a <lora:ink:1.1> b"),
        ("<lora:ink:0.9:0.5:dyn=2>", "<lora:ink:1:0.5:dyn=2>"),
        ("<lora:ink:-0.1>", "<lora:ink:0>"),
        ("<lora:ink:te=0.5>", None),
        ("a cat", None),
    ],
)
def test_the_weight_of_a_network_in_the_prompt_is_changed(text: str, expected: str | None) -> None:
    assert reweighed(text, "lora", "ink", 0.1) == expected


def test_words_come_behind_a_prompt_that_has_them_not() -> None:
    assert with_words("", "bad hands") == "bad hands"
    assert with_words("rain, ", "bad hands") == "rain, bad hands"
    assert with_words("rain, (Bad Hands:1.2)", "bad hands") == "rain, (Bad Hands:1.2)"
    assert with_words("rain", "") == "rain"

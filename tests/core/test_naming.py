"""Every pattern and prompt gives one safe file name."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdterm.core.naming import TOKENS, PatternError, check_pattern, file_name, sanitised
from tests.core.test_output import FACTS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def is_safe(name: str) -> bool:
    return (
        0 < len(name.encode()) <= 240
        and not set(name) & set('/\\:*?"<>|\0\n\x1b')
        and name[0] not in ".-"
        and name[-1] not in ". "
        and name.split(".")[0].lower() not in ("con", "nul", "com1")
    )


@given(TEXT)
@example("../../etc/passwd")
@example("\0")
@example("🐈" * 400)
@example("--out")
@example(".hidden")
@example("CON.png")
@example("nul")
@example("   ")
@example("...")
def test_any_text_becomes_one_safe_name(text: str) -> None:
    assert is_safe(sanitised(text))


@given(st.lists(st.sampled_from([f"[{token}]" for token in TOKENS]) | st.sampled_from(["-", "/", "..", " "])), TEXT)
def test_any_pattern_with_any_prompt_stays_one_safe_name_with_its_number(parts: list[str], prompt: str) -> None:
    pattern = "".join(parts)
    check_pattern(pattern)
    assert is_safe(file_name(pattern, replace(FACTS, prompt=prompt, number=42)))


def test_tokens_say_what_they_name() -> None:
    facts = replace(FACTS, number=3, seed=9, width=64, height=128, prompt="red house")
    assert file_name("[number] [seed] [width]x[height] [sampler] [date] [prompt]", facts) == (
        "00003 9 64x128 Euler 2026-01-02 red_house"
    )
    assert file_name("[seed]", facts) == "00003-9"


def test_a_token_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(PatternError, match=r"\[sede\].*\[seed\]"):
        check_pattern("[sede]")


@given(st.sampled_from(["[prompt]-[number]", "[prompt_spaces] [number]", "[seed][prompt][number]", "[prompt]"]), TEXT)
@example("[prompt]-[number]", "x" * 300)
@example("[prompt_spaces] [number]", "\N{CAT}" * 100)
def test_two_numbers_give_two_names_however_long_the_prompt(pattern: str, prompt: str) -> None:
    """Else a writer that looks for a free name would look for ever."""
    facts = replace(FACTS, prompt=prompt)
    names = {file_name(pattern, replace(facts, number=number)) for number in (0, 1, 99_999, 1_000_000)}
    assert len(names) == 4

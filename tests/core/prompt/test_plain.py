"""What A1111's syntax comes to in models that read prompts as plain words."""

import pytest

from sdterm.core.prompt.plain import plain_words
from sdterm.hooks import TokenCount


@pytest.mark.parametrize(
    ("text", "marked", "fix"),
    [
        ("a (red:1.3) house", "(red:1.3)", "red"),
        ("a [cat:dog:0.5]", "[cat:dog:0.5]", None),
        ("a [cat|dog]", "[cat|dog]", None),
        ("a cat AND a dog", "AND", "and"),
        ("a cat BREAK a dog", "BREAK", ""),
        ("a cat <lora:nobody:1>", "<lora:nobody:1>", None),
    ],
)
def test_what_is_drawn_as_words_is_marked(text: str, marked: str, fix: str | None) -> None:
    (found,) = plain_words(text, networks={"lora": {}, "hypernet": {}})
    assert (text[slice(*found.span)], found.fix) == (marked, fix)


@pytest.mark.parametrize("text", ["a cat (sitting) on a [red] sofa, 16:9", "BREAKING and androids", "<lora:known:0.5>"])
def test_prose_is_left_alone(text: str) -> None:
    assert not plain_words(text, networks={"lora": {"known": None}, "hypernet": {}})


def test_the_end_that_is_cut_off_is_marked_by_the_encoder_that_reads_most() -> None:
    text = "word " * 30
    counts = (TokenCount("T5", 31, 16, cut=75), TokenCount("CLIP", 32, 8, cut=30))
    (found,) = plain_words(text, counts=counts)
    assert found.span == (75, len(text)) and "T5 reads 16 tokens" in found.message and "31" in found.message
    assert not plain_words(text, counts=(TokenCount("T5", 31, 512), TokenCount("CLIP", 32, 8)))

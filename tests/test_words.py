"""Texts for users are plain English: one word for each thing (docs/glossary.md), and none that has to be guessed."""

import re
from functools import cache

import pytest

from sdterm.fields import FIELDS
from sdterm.tui.texts import messages

BANNED = {
    r"\bpictures?\b": "image",
    r"\b(draws|drawn)\b": "generate (a mask alone is drawn)",
    r"\b(who|whoever|whom)\b": "the program, the user, the plugin",
    r"\b(nobody|somebody|anybody|everybody)\b": "no one needs to be guessed: name them",
    r"\btold\b": "is shown, is written, is known",
    r"\b(left|leave|leaves|leaving) (it |them )?out\b": "ignored, removed, skipped",
    r"(?<![Tt]here )\bis no\b": "is not a",
    r"(?<![Tt]here )\bare no\b": "are not",
    r"\b(has|have) no one\b": "have no single",
    r"\b(go|goes|going|went) on\b": "continue",
    r"\b(begun|anew|mends?|mended|kin|wherever they lie)\b": "started, again, repair, similar",
    r"\bfor good\b": "permanently",
    r"\b(is|are) gone\b": "is missing",
    r"\bnot here\b": "missing",
    r"\bswitched off\b": "disabled",
    r"\bsound\b": "valid, not damaged",
    r"\bfetch(es)?\b (it|that|them)": "download",
    r"\bwhat is (asked|needed|given)\b": "name it",
}


@cache
def texts() -> list[str]:
    return [*messages(), *filter(None, (row.sentence for row in FIELDS.values()))]


@pytest.mark.parametrize(("word", "better"), BANNED.items())
def test_a_text_has_no_word_that_is_a_riddle(word: str, better: str) -> None:
    found = [text for text in texts() if re.search(word, text, re.IGNORECASE)]
    assert not found, f"say {better}"


def test_the_texts_are_found() -> None:
    assert len(texts()) > 2000

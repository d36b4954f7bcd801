"""The language for tests: every word shows whether it can be translated, and whether there is room for a longer one."""

import json
import re
from collections.abc import Iterator

import pytest

from sdterm.core.languages.pseudo import pseudo
from sdterm.core.languages.translations import placeholders
from sdterm.messages import message, plural
from sdterm.tui.language import counted, tr, use
from sdterm.tui.texts import messages, template


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    use(None)


def test_every_text_is_longer_and_keeps_its_names() -> None:
    for text, made in json.loads(template({}, pseudo)).items():
        words = [word for word in re.sub("`[^`]*`", "", text).split() if word.isalpha() and word.isascii()]
        assert len(made) >= len(text) + 0.4 * sum(map(len, words)), text
        assert placeholders(made) == placeholders(text), text
    assert pseudo("`sdterm queue` {job:,} 5") == "`sdterm queue` {job:,} 5"


def test_it_is_a_language_that_is_always_there() -> None:
    use("pseudo")
    for text in messages()[:50]:
        assert tr(text) == pseudo(text)
    inner = message("There is no {name}.", name="Seed")
    assert tr("Error: {error}", error=inner) == pseudo("Error: {error}").format(
        error=pseudo("There is no {name}.")
    ).format(name="Seed")
    assert counted("One picture", "{number} pictures", 1) == pseudo("One picture")
    assert tr(plural("One picture", "{number} pictures", 2)) == pseudo("{number} pictures").format(number=2)

"""Texts in the HTML of pages: they stand in double brackets, `<h1>[[Gallery]]</h1>`."""

import re
from html import escape

from sdterm.core.languages.speech import Speech

_TEXT = re.compile(r"\[\[(.+?)\]\]")


def texts_of(page: str) -> list[str]:
    """The English texts, for translators."""
    return _TEXT.findall(page)


def said_in(page: str, speech: Speech) -> str:
    """The page in that language, which it names."""
    said = _TEXT.sub(lambda found: escape(speech.tr(found[1])), page)
    return said.replace('<html lang="en">', f'<html lang="{escape(speech.tag)}">', 1)

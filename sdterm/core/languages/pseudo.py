"""A language that nobody speaks, for whoever tests: English with accents and 40 % longer.

A word without accents is one that cannot be translated; a label that is cut is one that German would cut, too.
"""

import math
import re

NAME = "pseudo"
_ACCENTS = str.maketrans("ACDEGHIJKLNORSTUWYZacdeghijklnorstuwyz", "ÅÇÐÉĜĤÎĴĶĻÑÖŔŠŢÛŴÝŽåçðéĝĥîĵķļñöŕšţûŵýž")
_KEPT = re.compile(r"(\{[^{}]*\}|`[^`]*`|--[a-z-]+)")  # values, and what is typed as it stands
_LONGER = 1.4


def pseudo(text: str) -> str:
    """The text in that language: `Generate` is `Ĝéééééñéŕåţé`."""
    return "".join(part if _KEPT.fullmatch(part) else _long(part) for part in _KEPT.split(text))


def _long(part: str) -> str:
    return "".join(_stretched(word) for word in re.split(r"(\s+)", part))


def _stretched(word: str) -> str:
    """With its first vowel, or else its last letter, several times."""
    if not any(map(str.isalpha, word)):
        return word
    more = math.ceil(len(word) * (_LONGER - 1))
    at = next((at for at, letter in enumerate(word) if letter in "aeiouy"), None)
    if at is None:
        at = max(at for at, letter in enumerate(word) if letter.isalpha())
    return (word[:at] + word[at : at + 1] * more + word[at:]).translate(_ACCENTS)

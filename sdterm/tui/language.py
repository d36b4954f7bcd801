"""What the interface says, in the language of whoever reads it."""

from collections.abc import Iterable
from typing import Any

from sdterm.core.languages.speech import Speech, speech_of
from sdterm.core.languages.translations import LanguageSource
from sdterm.messages import Message

_speech = Speech()


def tr(text: str, /, **values: Any) -> str:
    """The text in the language that is in use, `{name}` replaced by the value of that name. A message, such as an
    event's or an error's, has its own values."""
    return _speech.tr(text, **values)


def said(text: str) -> str:
    """What host and engine say, or what was put into words here, in the language that is in use."""
    return tr(text) if isinstance(text, Message) else text


def counted(one: str, many: str, number: int, /, **values: Any) -> str:
    """The one text or the other, as the number and the language say; `{number}` is replaced by it."""
    return _speech.counted(one, many, number, **values)


def use(language: str | None, sources: Iterable[LanguageSource] = ()) -> tuple[str, ...]:
    """Speak that language from now on; None and `en` are English, `pseudo` is for tests. Returns a sentence for each of
    its files that cannot be read. Raises LanguageError if none of them can, and then nothing changes."""
    global _speech
    _speech, faults = speech_of(language, sources)
    return faults

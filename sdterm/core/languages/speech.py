"""Sentences said in one language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sdterm.core.languages.plural_forms import Category, category
from sdterm.core.languages.pseudo import NAME as PSEUDO
from sdterm.core.languages.pseudo import pseudo
from sdterm.core.languages.translations import NO_FILES, LanguageSource, Translation, joined, read_files
from sdterm.messages import Message, asked_for


@dataclass(frozen=True)
class Speech:
    """One language. What it has no translation for stays English."""

    language: str = "en"
    translations: Mapping[str, Translation] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Its name for browsers: `zh-CN`."""
        return self.language.replace("_", "-")

    def tr(self, text: str, /, **values: Any) -> str:
        """The text, `{name}` replaced by the value of that name. A message, such as an event's or an error's, has its
        own values."""
        if not isinstance(text, Message):
            return self._filled(self._found(text), text, text, values)
        if text.one is not None and isinstance(number := text.values.get("number"), int):
            return self._counted(text.one, text.template, number, text.values)
        return self._filled(self._found(text.template), text.template, text.template, text.values)

    def counted(self, one: str, many: str, number: int, /, **values: Any) -> str:
        """The one text or the other, as the number and the language say; `{number}` is replaced by it."""
        return self._counted(one, many, number, {"number": number, **values})

    def _counted(self, one: str, many: str, number: int, values: Mapping[str, Any]) -> str:
        form = category(self.language, number)
        found = self._found(many)
        if form == "one" and isinstance(found, str | None):
            found = self._found(one) or found
        return self._filled(found, many, one if number == 1 else many, values, form)

    def _found(self, text: str) -> Translation | None:
        return pseudo(text) if self.language == PSEUDO else self.translations.get(text)

    def _filled(
        self, found: Translation | None, text: str, english: str, values: Mapping[str, Any], form: Category = "other"
    ) -> str:
        """A translation of a text with its values, or else the English one."""
        translated = found if isinstance(found, str | None) else found.get(form) or found.get("other")
        if not values:
            return translated or english
        values = {name: self.tr(value) if isinstance(value, Message) else value for name, value in values.items()}
        # A translator's slip must not cost the sentence, nor a stranger's `{name:999999999}` all memory.
        return (translated if translated and _fits(text, translated) else english).format_map(values)


def speech_of(language: str | None, sources: Iterable[LanguageSource] = ()) -> tuple[Speech, tuple[str, ...]]:
    """That language, and a sentence for each of its files that cannot be read; None and `en` are English, `pseudo` is
    for tests. Raises LanguageError if no file can be read."""
    files = [] if language in NO_FILES else read_files(str(language), sources)
    return Speech(language or "en", joined(files)), tuple(file.fault for file in files if file.fault)


@lru_cache(maxsize=4096)
def _fits(text: str, translated: str) -> bool:
    """Whether a translation replaces nothing but what the text does, and in its way."""
    try:
        return {*asked_for(translated)} <= {*asked_for(text)}
    except ValueError:
        return False

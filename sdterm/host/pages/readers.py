"""In which language a page is said: the one that its reader's browser prefers, of those that there are translations
for, or else the one of the settings."""

from collections.abc import Collection

from starlette.datastructures import Headers

from sdterm.core.languages.speech import Speech, speech_of
from sdterm.core.languages.translations import LanguageError, language_sources, languages
from sdterm.core.settings.settings import Settings


class Readers:
    """Looks for translations once; each is read when the first reader wants it."""

    def __init__(self, settings: Settings) -> None:
        self._sources = language_sources(settings)
        self._known = ("en", *languages(self._sources))
        self._usual = settings["language"] or "en"
        self._read: dict[str, Speech] = {}

    def speech(self, headers: Headers) -> Speech:
        """The language of whoever sent these headers. One that cannot be read is English."""
        language = wanted(headers.get("accept-language", ""), self._known) or self._usual
        if language not in self._read:
            try:
                self._read[language], _ = speech_of(language, self._sources)
            except LanguageError:
                self._read[language] = Speech()
        return self._read[language]


def wanted(accepted: str, known: Collection[str]) -> str | None:
    """Which of the known languages `Accept-Language` prefers: one of that name, or else of that language in another
    country."""
    for tag in _preferred(accepted):
        names = {name.lower().replace("_", "-"): name for name in known}
        akin = (name for each, name in names.items() if _language(each) == _language(tag))
        if found := names.get(tag) or next(akin, None):
            return found
    return None


def _preferred(accepted: str) -> list[str]:
    """Its tags, in lower case, the most wanted first."""
    weighed = []
    for part in accepted.split(","):
        tag, _, weight = part.partition(";")
        try:
            weighed.append((float(weight.strip().removeprefix("q=") or 1), tag.strip().lower()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda pair: -pair[0]) if weight > 0]


def _language(tag: str) -> str:
    return tag.partition("-")[0]

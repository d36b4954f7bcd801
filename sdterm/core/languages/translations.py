"""Where translations are, and what is read of them.

Translations are A1111's files: `localizations/<language>.json`, flat, the English text as the key. English needs none.
A sentence that counts is two texts in English; where a language has other plural forms, the translation of the second
one is a table of CLDR's categories: `{"one": …, "few": …, "other": …}`.

They lie in sdterm, in extensions and in the data folder. Plugins bring more, as packs of messages that come with the
catalogue. A pack wins over sdterm's own files, the folders of extensions win over packs, and the user's own over all.
They are strangers' data: what cannot be read is told, and the rest is used.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from sdterm.core.extensions.discovery import language_packs
from sdterm.core.languages.plural_forms import CATEGORIES
from sdterm.core.languages.pseudo import NAME as PSEUDO
from sdterm.core.settings.paths import shipped
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError

if TYPE_CHECKING:
    from sdterm.core.extensions.catalogue import Catalogue

_LONGEST = 10_000  # characters of a translation
MOST_BYTES = 8 * 2**20
"""Of a file; A1111's largest has one."""

NO_FILES = (None, "", "en", "None", PSEUDO)
"""English, as settings write it, and the language for tests."""

Translation = str | Mapping[str, str]
"""A text, or its plural forms by category."""


class LanguageError(SdtermError, ValueError):
    """A translation cannot be read; the message is a sentence."""

    code = BAD_REQUEST


class UnknownLanguageError(LanguageError):
    """There is no translation of that name."""


@dataclass(frozen=True)
class Pack:
    """Messages that a plugin brings."""

    plugin: str
    """Its slug."""
    language: str
    messages: Mapping[str, Translation]


LanguageSource = Path | Pack
"""Where a translation may be: a folder with files, or a pack."""


def packs_of(catalogue: Catalogue) -> tuple[Pack, ...]:
    """The packs that plugins bring, the strongest last."""
    packs = []
    for offer in catalogue.of("LocalePack"):
        language, messages = offer.facts["language"], offer.facts["messages"]
        if isinstance(language, str) and isinstance(messages, dict):
            packs.append(Pack(offer.plugin, language, _clean(messages)))
    return tuple(packs)


def language_sources(settings: Settings, plugins: Iterable[Pack] = ()) -> list[LanguageSource]:
    """Where translations are, the strongest last: sdterm's own, what plugins bring, the folders of extensions, the
    user's own."""
    ours, own = shipped("localizations"), settings["localizations_dir"]
    packs = language_packs(settings.root / "extensions") if settings["extensions"] else ()
    return [*([ours] if ours else []), *plugins, *packs, settings.root / "localizations", *([Path(own)] if own else [])]


def languages(sources: Iterable[LanguageSource]) -> list[str]:
    """Those that there are translations for."""
    names: set[str] = set()
    for source in sources:
        names |= {source.language} if isinstance(source, Pack) else {path.stem for path in source.glob("*.json")}
    return sorted(name for name in names if name == printable(name))


def is_known(language: str | None, sources: Iterable[LanguageSource]) -> bool:
    """Whether it is English, nobody's, or there is a translation."""
    return language in NO_FILES or language in languages(sources)


def read_messages(language: str, sources: Iterable[LanguageSource]) -> dict[str, Translation]:
    """English text → translation, of all files and packs of that name, later ones winning. Raises LanguageError."""
    return joined(read_files(language, sources))


@dataclass(frozen=True)
class LanguageFile:
    """One file or pack of a language: what it translates, or what is wrong with it."""

    path: Path | None
    """Unset for a pack."""
    plugin: str | None
    """The slug of the plugin that brings a pack."""
    messages: Mapping[str, Translation]
    fault: str = ""


def read_files(language: str, sources: Iterable[LanguageSource]) -> list[LanguageFile]:
    """All files and packs of that name. Raises UnknownLanguageError if there is none."""
    found = []
    for source in sources:
        if isinstance(source, Pack):
            if source.language == language:
                found.append(LanguageFile(None, source.plugin, source.messages))
        elif (path := source / f"{language}.json").is_file():
            try:
                found.append(LanguageFile(path, None, _read(path)))
            except LanguageError as error:
                found.append(LanguageFile(path, None, {}, str(error)))
    if not found:
        said = f"There is no translation {printable(language)!r}: neither a file in localizations/ nor a plugin has it."
        raise UnknownLanguageError(said)
    return found


def joined(files: Sequence[LanguageFile]) -> dict[str, Translation]:
    """English text → translation. Raises LanguageError if none of the files can be read."""
    if files and all(file.fault for file in files):
        raise LanguageError(files[-1].fault)
    return {text: translation for file in files for text, translation in file.messages.items()}


def _read(path: Path) -> dict[str, Translation]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise LanguageError(f"{printable(str(path))} has more than {MOST_BYTES // 2**20} MiB.")
        content = json.loads(data.decode("utf-8-sig"))
    except LanguageError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise LanguageError(f"{printable(str(path))} cannot be read: {printable(str(error))}.") from None
    if not isinstance(content, dict):
        raise LanguageError(f'{printable(str(path))} must be one table: {{"English text": "translation"}}.')
    return _clean(content)


def _clean(content: Mapping[str, object]) -> dict[str, Translation]:
    """The texts of a translation, without what a terminal would obey."""
    clean: dict[str, Translation] = {}
    for key, value in content.items():
        if key == "rtl":
            continue
        if _is_text(value):
            clean[key.strip()] = _clean_text(value)
        elif isinstance(value, dict):
            forms = {form: _clean_text(text) for form, text in value.items() if form in CATEGORIES and _is_text(text)}
            if forms:
                clean[key.strip()] = forms
    return clean


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _clean_text(text: str) -> str:
    return "\n".join(printable(line, _LONGEST) for line in text.strip().split("\n"))


def placeholders(text: str) -> Sequence[str]:
    """The names in braces, sorted. Raises ValueError if the braces are wrong."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)

"""What the interface says, in the language of whoever reads it.

Translations are A1111's files: `localizations/<language>.json`, flat, the English text as the key. English needs none.
"""

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdterm.core.config import Settings
from sdterm.core.dataroot import shipped
from sdterm.core.names import printable

_LONGEST = 10_000  # characters of a translation

_messages: Mapping[str, str] = {}


class LanguageError(ValueError):
    """A translation cannot be read; the message is a sentence."""


def tr(text: str, /, **values: Any) -> str:
    """The text in the language that is in use, `{name}` replaced by the value of that name."""
    translated = _messages.get(text, text)
    if not values:
        return translated
    try:
        return translated.format_map(values)
    except (LookupError, ValueError, AttributeError):  # a translator's slip must not cost the sentence
        return text.format_map(values)


def use(language: str | None, folders: Iterable[Path] = ()) -> None:
    """Speak that language from now on; None and `en` are English. Raises LanguageError, and then nothing changes."""
    global _messages
    _messages = {} if language in (None, "", "en", "None") else read_messages(str(language), folders)


def language_folders(settings: Settings) -> list[Path]:
    """Where translations lie, the strongest last."""
    ours, own = shipped("localizations"), settings["localizations_dir"]
    return [*([ours] if ours else []), settings.root / "localizations", *([Path(own)] if own else [])]


def languages(folders: Iterable[Path]) -> list[str]:
    """Those that there are translations for."""
    return sorted({path.stem for folder in folders for path in folder.glob("*.json")})


def read_messages(language: str, folders: Iterable[Path]) -> dict[str, str]:
    """English text → translation, of all files of that name, later folders winning. Raises LanguageError."""
    paths = [path for folder in folders if (path := folder / f"{language}.json").is_file()]
    if not paths:
        raise LanguageError(f"There is no translation {printable(language)!r}: localizations/ has none of that name.")
    messages: dict[str, str] = {}
    for path in paths:
        messages |= _read(path)
    return messages


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise LanguageError(f"{printable(str(path))} cannot be read: {printable(str(error))}.") from None
    if not isinstance(content, dict):
        raise LanguageError(f'{printable(str(path))} must be one table: {{"English text": "translation"}}.')
    return {
        key.strip(): "\n".join(printable(line, _LONGEST) for line in value.strip().split("\n"))
        for key, value in content.items()
        if isinstance(value, str) and value.strip() and key != "rtl"
    }


def placeholders(text: str) -> Sequence[str]:
    """The names in braces, sorted. Raises ValueError if the braces are wrong."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)

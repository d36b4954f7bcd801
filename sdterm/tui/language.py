"""What the interface says, in the language of whoever reads it.

Translations are A1111's files: `localizations/<language>.json`, flat, the English text as the key. English needs none.
They lie in sdterm, in extensions and in the data folder. They are strangers' data: what cannot be read is told, and the
rest is used.
"""

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdterm.core.extensions.discovery import language_packs
from sdterm.core.settings.paths import shipped
from sdterm.core.settings.settings import Settings
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError

_LONGEST = 10_000  # characters of a translation
MOST_BYTES = 8 * 2**20
"""Of a file; A1111's largest has one."""

_messages: Mapping[str, str] = {}


class LanguageError(SdtermError, ValueError):
    """A translation cannot be read; the message is a sentence."""

    code = BAD_REQUEST


def tr(text: str, /, **values: Any) -> str:
    """The text in the language that is in use, `{name}` replaced by the value of that name."""
    translated = _messages.get(text, text)
    if not values:
        return translated
    # A translator's slip must not cost the sentence, nor a stranger's `{name:999999999}` all memory.
    return (translated if _fits(text, translated) else text).format_map(values)


@lru_cache(maxsize=4096)
def _fits(text: str, translated: str) -> bool:
    """Whether a translation replaces nothing but what the text does, and in its way."""
    try:
        wanted, known = ({parts[1:] for parts in string.Formatter().parse(each)} for each in (translated, text))
    except ValueError:
        return False
    return wanted <= known | {(None, None, None)}


def use(language: str | None, folders: Iterable[Path] = ()) -> tuple[str, ...]:
    """Speak that language from now on; None and `en` are English. Returns a sentence for each of its files that cannot
    be read. Raises LanguageError if none of them can, and then nothing changes."""
    global _messages
    found = [] if language in (None, "", "en", "None") else read_files(str(language), folders)
    _messages = _joined(found)
    return tuple(file.fault for file in found if file.fault)


def language_folders(settings: Settings) -> list[Path]:
    """Where translations lie, the strongest last."""
    ours, own = shipped("localizations"), settings["localizations_dir"]
    packs = language_packs(settings.root / "extensions") if settings["extensions"] else ()
    return [*([ours] if ours else []), *packs, settings.root / "localizations", *([Path(own)] if own else [])]


def languages(folders: Iterable[Path]) -> list[str]:
    """Those that there are translations for."""
    names = {path.stem for folder in folders for path in folder.glob("*.json")}
    return sorted(name for name in names if name == printable(name))


def read_messages(language: str, folders: Iterable[Path]) -> dict[str, str]:
    """English text → translation, of all files of that name, later folders winning. Raises LanguageError."""
    return _joined(read_files(language, folders))


@dataclass(frozen=True)
class LanguageFile:
    """One file of a language: what it translates, or what is wrong with it."""

    path: Path
    messages: Mapping[str, str]
    fault: str = ""


def read_files(language: str, folders: Iterable[Path]) -> list[LanguageFile]:
    """All files of that name. Raises LanguageError if there is none."""
    paths = [path for folder in folders if (path := folder / f"{language}.json").is_file()]
    if not paths:
        raise LanguageError(f"There is no translation {printable(language)!r}: localizations/ has none of that name.")
    found = []
    for path in paths:
        try:
            found.append(LanguageFile(path, _read(path)))
        except LanguageError as error:
            found.append(LanguageFile(path, {}, str(error)))
    return found


def _joined(files: Sequence[LanguageFile]) -> dict[str, str]:
    if files and all(file.fault for file in files):
        raise LanguageError(files[-1].fault)
    return {text: translation for file in files for text, translation in file.messages.items()}


def _read(path: Path) -> dict[str, str]:
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
    return {
        key.strip(): "\n".join(printable(line, _LONGEST) for line in value.strip().split("\n"))
        for key, value in content.items()
        if isinstance(value, str) and value.strip() and key != "rtl"
    }


def placeholders(text: str) -> Sequence[str]:
    """The names in braces, sorted. Raises ValueError if the braces are wrong."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)

"""styles.csv: named pieces of prompt, A1111's file."""

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path

from sdterm.core.files import regular, write_atomically
from sdterm.core.names import find
from sdterm.core.settings.settings import Settings
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.messages import message

Styles = dict[str, tuple[str, str]]


class StylesError(SdtermError, ValueError):
    """A styles file cannot be read."""

    code = BAD_REQUEST


def read_styles(paths: Iterable[Path]) -> Styles:
    """Name → (prompt, negative prompt). UTF-8 with or without a byte order mark; columns name, prompt (formerly
    text), negative_prompt; names starting with # are dividers. A missing file holds no styles."""
    styles: Styles = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8-sig", newline="", opener=regular) as file:
                for row in csv.DictReader(file):
                    name = (row.get("name") or "").strip()
                    if name and not name.startswith("#"):
                        styles[name] = (row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or "")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StylesError(
                message(
                    "The styles file {file} cannot be read: {problem}.",
                    file=path,
                    problem=getattr(error, "strerror", None) or error,
                )
            ) from error
    return styles


def styles_of(settings: Settings) -> Styles:
    """The styles that these settings see. Raises StylesError."""
    return read_styles([Path(path) for path in settings["styles_files"]] or [settings.root / "styles.csv"])


def add_styles(source: Path, target: Path, *, dry_run: bool = False) -> int:
    """Put the styles of one file behind those of another that does not have their names; how many these are. Raises
    StylesError, OSError."""
    there = read_styles([target])
    new = {name: texts for name, texts in read_styles([source]).items() if name not in there}
    if new and not dry_run:
        text = StringIO()
        rows = csv.writer(text)
        if not target.exists():
            rows.writerow(("name", "prompt", "negative_prompt"))
        rows.writerows((name, *texts) for name, texts in new.items())
        before = target.read_bytes() if target.exists() else b""
        between = b"\n" if before and not before.endswith(b"\n") else b""
        write_atomically(target, before + between + text.getvalue().encode())
    return len(new)


def find_style(name: str, styles: Styles) -> str:
    """The style of that name, as the styles file spells it. Raises UnknownNameError."""
    more = message("Styles are read from styles.csv.")
    return find("style", name, {known: known for known in styles}, more=more, field="styles")


def find_styles(styles: Styles, prompt: str, negative_prompt: str) -> tuple[tuple[str, ...], str, str]:
    """(names, prompt, negative prompt): the styles that both texts end in (or, with `{prompt}`, are wrapped in), taken
    off one after the other as A1111 does. Applying them again gives the same texts, to the letter."""
    names: tuple[str, ...] = ()
    while found := next(_matching(styles, names, prompt, negative_prompt), None):
        name, prompt, negative_prompt = found
        names = (name, *names)
    return names, prompt, negative_prompt


def _matching(styles: Styles, taken: tuple[str, ...], prompt: str, negative: str) -> Iterator[tuple[str, str, str]]:
    for name, (style, negative_style) in styles.items():
        if name in taken or not (style.strip() or negative_style.strip()):
            continue
        without, negative_without = _without(style, prompt), _without(negative_style, negative)
        if without and negative_without is not None:
            yield name, without, negative_without


def _without(style: str, text: str) -> str | None:
    """The text that a style was applied to; None if this is none of the style's."""
    if "{prompt}" in style:
        before, _, after = style.partition("{prompt}")
        inside = text[len(before) : len(text) - len(after)]
        return inside if style.replace("{prompt}", inside) == text else None
    if not style.strip():
        return text if text == text.strip() else None
    if text == style.strip():
        return ""
    rest = text.removesuffix(", " + style.strip())
    return rest if rest != text and rest and rest == rest.strip() else None

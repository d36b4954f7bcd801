"""The name that an extension's folder has, which is what it is called everywhere."""

import re
import sys
from collections.abc import Collection
from importlib.metadata import packages_distributions

from sdterm.core.extensions import ExtensionError
from sdterm.core.text import printable
from sdterm.messages import message

_SLUG = re.compile(r"[a-z][a-z0-9_-]{1,39}")
_NEAR = 2  # letters to change


def slug_of(text: str) -> str:
    """A name made of what somebody wrote; it may still be none that is allowed."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.strip().lower()).strip("-_")[:40]


def check_slug(slug: str, taken: Collection[str], hint: str = message("Choose another name with --as.")) -> None:
    """Whether an extension may be called that; `taken` are names of what is no extension. Raises ExtensionError."""
    if not _SLUG.fullmatch(slug):
        raise ExtensionError(
            message(
                "'{slug}' is not a valid name for an extension: use 2 to 40 of a-z, 0-9, _ and -, starting with "
                "a letter. {hint}",
                slug=printable(slug),
                hint=hint,
            )
        )
    module = slug.replace("-", "_")
    if module == "core" or module.startswith("sdterm"):
        raise ExtensionError(message("The name {slug} is reserved for sdterm. {hint}", slug=slug, hint=hint))
    if module in sys.stdlib_module_names or module in packages_distributions():
        raise ExtensionError(message("{slug} is the name of an installed Python module. {hint}", slug=slug, hint=hint))
    if slug in taken:
        raise ExtensionError(message("{slug} is the name of another plugin. {hint}", slug=slug, hint=hint))


def alike(slug: str, others: Collection[str]) -> list[str]:
    """Those of `others` that one may take for `slug`."""
    return [other for other in sorted(others) if other != slug and _distance(slug, other) <= _NEAR]


def _distance(one: str, other: str) -> int:
    """How many letters to insert, delete or replace (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, row = row, [i]
        for j, its in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != its)))
    return row[-1]

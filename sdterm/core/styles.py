"""styles.csv: named pieces of prompt, A1111's file."""

import csv
from collections.abc import Iterable
from pathlib import Path

Styles = dict[str, tuple[str, str]]


class StylesError(ValueError):
    """A styles file cannot be read."""


def read_styles(paths: Iterable[Path]) -> Styles:
    """Name → (prompt, negative prompt). UTF-8 with or without a byte order mark; columns name, prompt (formerly
    text), negative_prompt; names starting with # are dividers. A missing file holds no styles."""
    styles: Styles = {}
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    name = (row.get("name") or "").strip()
                    if name and not name.startswith("#"):
                        styles[name] = (row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or "")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StylesError(f"The styles file {path} cannot be read: {error}.") from error
    return styles

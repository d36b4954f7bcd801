"""What a gallery filter's last term may become while it is typed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sdterm.core.filter_fields import FILTER_FIELDS
from sdterm.core.infotext.grammar import parse

if TYPE_CHECKING:
    from sdterm.api import Picture

_LAST = re.compile(r'(?:^|(?<=\s))-?(?:([A-Za-z_]+)(:|<=|>=|<|>|=))?("[^"]*|[^\s"]*)$')


def values_in(pictures: Iterable[Picture]) -> Mapping[str, Sequence[str]]:
    """The values that fields have in these pictures, the most frequent first."""
    counts: dict[str, Counter[str]] = {field: Counter() for field in FILTER_FIELDS}
    for picture in pictures:
        parameters = parse(picture.infotext).parameters
        found = {name: parameters[key] for name, (_, key, _) in FILTER_FIELDS.items() if key in parameters}
        found["size"] = f"{picture.width}x{picture.height}"
        found |= {"width": str(picture.width), "height": str(picture.height)}
        found["kind"] = picture.kind
        found |= {"seed": str(picture.seed)} if picture.seed is not None else {}
        found |= {"job": str(picture.job)} if picture.job is not None else {}
        found["after"] = found["before"] = f"{datetime.fromtimestamp(picture.saved):%Y-%m-%d}"
        for field, value in found.items():
            counts[field][value] += 1
    return {field: [value for value, _ in count.most_common()] for field, count in counts.items()}


def completions(text: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """The whole filters that this one may become."""
    match = _LAST.search(text)
    if not match:
        return []
    field, _, begun = match.groups()
    before = text[: match.start(3)]
    if not field:
        names = [name for name in FILTER_FIELDS if begun and name.startswith(begun.casefold())]
        return [f"{before}{name}{FILTER_FIELDS[name].sign}" for name in names]
    begun = begun.removeprefix('"').casefold()
    known = [value for value in values.get(field.casefold(), ()) if value.isprintable() and '"' not in value]
    starting = [value for value in known if value.casefold().startswith(begun) and value.casefold() != begun]
    return [f"{before}{_quoted(value)}" for value in starting]


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) else value

"""The gallery's filter: `purple mountains sampler:euler steps>=20 -seed:7 after:2026-11-01`.

Words must stand in the infotext (as the beginning of a word); all terms must hold; a minus turns one round.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sdterm.core.names import UnknownNameError, find, printable

NUMBERS = {"steps": "Steps", "cfg": "CFG scale", "clip": "Clip skip", "denoising": "Denoising strength"}
"""A name for a number of the infotext → its key there."""
TEXTS = {
    "sampler": "Sampler",
    "schedule": "Schedule type",
    "model": "Model",
    "hash": "Model hash",
    "version": "Version",
}
"""A name for a text of the infotext → its key there."""
COLUMNS = {"seed": "seed", "width": "width", "height": "height", "job": "job"}
"""A name for a number that the gallery keeps by itself."""
DATES = ("after", "before")
FIELDS = (*NUMBERS, *TEXTS, *COLUMNS, "size", *DATES)

_TERM = re.compile(r'(-?)(?:([A-Za-z_]+)(:|<=|>=|<|>|=))?(?:"([^"]*)"?|(\S+)|$)')
_SIZE = re.compile(r"(\d{1,5})[x×*](\d{1,5})", re.IGNORECASE)


class FilterError(ValueError):
    """A term cannot be understood; the message is a sentence."""


@dataclass(frozen=True)
class Term:
    """One thing that must hold, or (`negated`) must not."""

    field: str | None
    """None for a word of the infotext."""
    sign: str
    value: str
    negated: bool = False


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a filter. Raises FilterError."""
    return tuple(_terms(text))


def _terms(text: str) -> Iterator[Term]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TERM.match(text, at)
        if not match or match.end() == at:
            raise FilterError(f"The filter cannot be read from position {at + 1} on.")
        at = match.end()
        minus, field, sign, quoted, plain = match.groups()
        value = quoted if quoted is not None else plain or ""
        if field:
            yield _checked(field, sign, value, bool(minus))
        elif value:
            yield Term(None, ":", value, bool(minus))


def _checked(field: str, sign: str, value: str, negated: bool) -> Term:
    try:
        name = find("filter", field, {known: known for known in FIELDS})
    except UnknownNameError as error:
        raise FilterError(f'{error} In quotation marks it is a word: "{printable(field)}{sign}".') from None
    if not value:
        raise FilterError(f"{name}{sign} needs a value behind it.")
    if name in (*NUMBERS, *COLUMNS) and not _is_number(value):
        raise FilterError(f"{name}{sign}{printable(value, 40)} is no number.")
    if name == "size" and not _SIZE.fullmatch(value):
        raise FilterError(f"size:{printable(value, 40)} is no size like 512x768.")
    if name in DATES and _date(value) is None:
        raise FilterError(f"{name}:{printable(value, 40)} is no date like 2026-11-23.")
    if name in (*TEXTS, "size", *DATES) and sign not in (":", "="):
        raise FilterError(f"{name} is compared with : alone.")
    return Term(name, sign, value, negated)


def sql(terms: tuple[Term, ...]) -> tuple[str, list[str | float]]:
    """A condition on the row `p` of a picture, and its values; `parameter(infotext, key)` must be a function there."""
    conditions, values = ["1"], []
    for term in terms:
        condition, given = _condition(term)
        conditions.append(f"NOT ({condition})" if term.negated else condition)
        values += given
    return " AND ".join(conditions), values


def _condition(term: Term) -> tuple[str, list[str | float]]:
    sign = "=" if term.sign == ":" else term.sign  # one of a fixed few: nothing typed gets into the statement
    match term.field:
        case None:
            words = re.findall(r"\w+", term.value)
            query = " ".join(f'"{word}"*' for word in words)
            inside = "p.id IN (SELECT rowid FROM pictures_text WHERE pictures_text MATCH ?)"
            return (inside, [query]) if words else ("1", [])
        case "size":
            found = _SIZE.fullmatch(term.value)
            assert found
            return "p.width = ? AND p.height = ?", [float(found[1]), float(found[2])]
        case "after" | "before":
            at = _date(term.value)
            assert at is not None
            return f"p.saved {'>=' if term.field == 'after' else '<'} ?", [at]
        case "seed":
            return f"CAST(p.seed AS REAL) {sign} ?" if sign != "=" else "p.seed = ?", [
                term.value if sign == "=" else float(term.value)
            ]
        case field if field in COLUMNS:
            return f"p.{COLUMNS[field]} {sign} ?", [float(term.value)]
        case field if field in NUMBERS:
            return f"CAST(parameter(p.infotext, ?) AS REAL) {sign} ?", [NUMBERS[field], float(term.value)]
        case field:
            assert field
            return "instr(lower(coalesce(parameter(p.infotext, ?), '')), ?) > 0", [TEXTS[field], term.value.lower()]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?", text) is not None


def _date(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def parameter(infotext: str, key: str) -> str | None:
    """The value of a key in the last line of an infotext; cheaper than reading all of it."""
    line = infotext[infotext.rfind("\n") + 1 :]
    found = re.search(rf'(?:^|, ){re.escape(key)}: (?:"((?:[^"\\]|\\.)*)"|([^,]*))', line)
    return None if not found else found[1] if found[1] is not None else found[2]

"""The gallery's filter: `purple mountains sampler:euler steps>=20 -seed:7 after:2026-11-01`.

Words must stand in the infotext, the last of a term as the beginning of one; all terms must hold; a minus turns one
round. What can be compared is kept beside each picture, as `facts` reads it from the infotext.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sdterm.core.filter_fields import FILTER_FIELDS
from sdterm.core.infotext import grammar as infotexts
from sdterm.core.names import UnknownNameError, find, normal
from sdterm.core.text import printable
from sdterm.errors import BAD_REQUEST, SdtermError
from sdterm.events import PICTURE_KINDS
from sdterm.messages import message

Fact = str | float | None

NUMBERS = {name: field.key for name, field in FILTER_FIELDS.items() if field.kind == "infotext_number"}
"""A column with a number of the infotext → its key there."""
TEXTS = {name: field.key for name, field in FILTER_FIELDS.items() if field.kind == "infotext_text"}
"""A column with a text of the infotext, case folded → its key there."""
_UNSAID = {"Clip skip": "1"}  # what an infotext leaves out because it is so by default

_TERM = re.compile(r'(?!\s)(-?)(?:([A-Za-z_]+)(:|<=|>=|<|>|=))?(?:"([^"]*)"?|(\S*))')
_SIZE = re.compile(r"([0-9]{1,5})[x×*]([0-9]{1,5})", re.IGNORECASE)


class FilterError(SdtermError, ValueError):
    """A term cannot be understood; the message is a sentence. position: of the term's first character, from 0."""

    code = BAD_REQUEST

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


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
    return tuple(_terms(text.encode("utf-8", "replace").decode()))  # half a character is none


def _terms(text: str) -> Iterator[Term]:
    for match in _TERM.finditer(text):
        minus, field, sign, quoted, plain = match.groups()
        value = plain if quoted is None else quoted
        if field:
            yield _checked(field, sign, value, bool(minus), match.start())
        elif value:
            yield Term(None, ":", value, bool(minus))


def _checked(field: str, sign: str, value: str, negated: bool, position: int) -> Term:
    try:
        name = find("filter", field, {known: known for known in FILTER_FIELDS})
    except UnknownNameError as error:
        said = message(
            '{error} In quotation marks it is a word: "{field}{sign}".', error=error, field=printable(field), sign=sign
        )
        raise FilterError(said, position) from None
    wrong, kind, term = None, FILTER_FIELDS[name].kind, f"{name}{sign}{printable(value, 40)}"
    if not value:
        wrong = message("{term} needs a value behind it", term=term)
    elif kind in ("number", "infotext_number") and not _is_number(value):
        wrong = message("{term} is not a number", term=term)
    elif kind == "size" and not _SIZE.fullmatch(value):
        wrong = message("{term} is not a size like 512x768", term=term)
    elif kind == "date" and _date(value) is None:
        wrong = message("{term} is not a date like 2026-11-23", term=term)
    elif kind == "kind" and normal(value) not in map(normal, PICTURE_KINDS):
        wrong = message("{term} is none of {kinds}", term=term, kinds=", ".join(PICTURE_KINDS))
    elif kind not in ("number", "infotext_number") and sign not in (":", "="):
        wrong = message("{name} is compared with : alone", name=name)
    if wrong:
        raise FilterError(message("{wrong} (character {position}).", wrong=wrong, position=position + 1), position)
    return Term(name, sign, value, negated)


def sql(terms: tuple[Term, ...]) -> tuple[str, list[str | float]]:
    """A condition on the row `p` of a picture, and its values."""
    conditions, values = ["1"], []
    for term in terms:
        condition, given = _condition(term)
        conditions.append(f"({condition}) IS NOT TRUE" if term.negated else condition)  # nothing known is no match
        values += given
    return " AND ".join(conditions), values


def _condition(term: Term) -> tuple[str, list[str | float]]:
    sign = "=" if term.sign == ":" else term.sign  # one of a fixed few: nothing typed gets into the statement
    match term.field:
        case None:
            words = re.findall(r"\w+", term.value)
            inside = "p.id IN (SELECT rowid FROM pictures_text WHERE pictures_text MATCH ?)"
            return (inside, [f'"{" ".join(words)}"*']) if words else ("1", [])
        case "size":
            width, height = _SIZE.fullmatch(term.value).groups()  # type: ignore[union-attr] # checked
            return "p.width = ? AND p.height = ?", [float(width), float(height)]
        case "after" | "before":
            at = _date(term.value)
            assert at is not None
            return f"p.saved {'>=' if term.field == 'after' else '<'} ?", [at]
        case "seed" if sign == "=":  # digits: a REAL has not enough of them
            return "p.seed = ?", [term.value.lstrip("0") or "0"]
        case "seed":
            return f"CAST(p.seed AS REAL) {sign} ?", [float(term.value)]
        case "kind":
            return "p.kind = ?", [next(kind for kind in PICTURE_KINDS if normal(kind) == normal(term.value))]
        case field if field in TEXTS:
            return f"instr(p.{field}, ?) > 0", [term.value.casefold()]
        case field:
            return f"p.{field} {sign} ?", [float(term.value)]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text) is not None


def _date(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def facts(infotext: str) -> dict[str, Fact]:
    """Each column of NUMBERS and TEXTS with its value in an infotext; None where it says nothing of the kind."""
    said = _UNSAID | dict(infotexts.parse(infotext).parameters)
    texts = {column: said[key].casefold() if key in said else None for column, key in TEXTS.items()}
    numbers = {column: float(said[key]) if _is_number(said.get(key, "")) else None for column, key in NUMBERS.items()}
    return texts | numbers


def fact(infotext: str, column: str) -> Fact:
    """One of `facts`, for SQL; cheap when the next one is of the same infotext."""
    return _facts(infotext)[column]


_facts = lru_cache(maxsize=1)(facts)

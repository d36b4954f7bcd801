"""What typing a value changes in a form, where there is a name and a text and no widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdterm.core.names import normal
from sdterm.core.text import printable
from sdterm.tui.fields import DEFAULTS, Field, RefusedTextError
from sdterm.tui.language import tr
from sdterm.tui.offers import Choice, Offers


def typed(field: Field, text: str, values: Mapping[str, Any], offers: Offers) -> Mapping[str, Any]:
    """The request fields that change if a text is typed in a field; no text takes out what is there. Raises
    RefusedTextError, RequestError."""
    from sdterm.request import make_request

    if not text.strip():
        changes: Mapping[str, Any] = {row.name: None for row in field.rows}
    elif field.kind == "switch":
        changes = field.given(_switched(text), values)
    elif len(field.rows) > 1:
        changes = field.write(field.settled(text), values)
    elif field.kind == "choice" and (choices := offers.of(field, values)) is not None:
        parts = [part for part in text.split(",") if part.strip()] if field.takes_several else [text]
        names = [named(field, part.strip(), choices).name for part in parts]
        changes = field.given(tuple(names) if field.takes_several else names[0], values)
    else:
        changes = field.given(value_of(field.rows[0].name, field.settled(text)), values)
    make_request(prompt="x", **{name: value for name, value in changes.items() if value is not None})
    return offers.fitting(field.offers, changes, values)


def _switched(text: str) -> bool | str:
    """What a word for on or off means, also in the language that is in use; what is neither stays as it is."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    words |= {"on": True, "off": False, normal(tr("on")): True, normal(tr("off")): False}
    return words.get(normal(text), text.strip())


def named(field: Field, text: str, choices: Sequence[Choice]) -> Choice:
    """The choice that is called so, or the only one that begins so. Raises RefusedTextError."""
    begun = [choice for choice in choices if normal(choice.name).startswith(normal(text))]
    meant = [choice for choice in choices if choice.is_called(text)] or (begun if len(begun) == 1 else [])
    if not meant:
        raise RefusedTextError(tr("There is no {label} {name}.", label=tr(field.label), name=repr(printable(text, 60))))
    return meant[0]


def value_of(name: str, text: str) -> Any:
    """What was typed, in the shape of the request's field. Raises RequestError."""
    from sdterm.request import RequestError

    default = DEFAULTS[name]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, tuple):
        return tuple(parts)
    if not isinstance(default, dict):
        return text.strip() or None
    pairs = [part.partition("=") for part in parts]
    if not all(equals for _, equals, _ in pairs):
        raise RequestError(tr("{name} takes names and values, like eta=0.5, s_churn=1.", name=name))
    return {key.strip(): value.strip() for key, _, value in pairs}

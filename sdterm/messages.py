"""What sdterm says: English sentences that remember how they were made, so that a front end can translate them.

A `Message` is a `str`, and anything that prints it goes on to work. Plugins may use these functions; plain strings
work, too, and stay English.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_DEEPEST = 32  # messages in messages, as they are packed
_LONGEST = 100_000  # characters of a packed one; an error that quotes more stays English
_NAME = re.compile(r"[A-Za-z_]\w*")  # of a value; a stranger's `{error.__class__}` is none
_FORMATS = re.compile(r",?(\.\d{1,2})?[fg%]?")  # what a number may be shown as; a stranger's `{0:999999999}` is none


class Message(str):
    """An English sentence, with the template and the values that it is made of.

    template: what translations are found by; `{name}` is replaced by the value of that name.
    one: the template for a `number` of 1, where the sentence counts something.
    """

    template: str
    values: Mapping[str, str | int | float]
    one: str | None

    def __new__(
        cls,
        text: str,
        template: str | None = None,
        values: Mapping[str, str | int | float] | None = None,
        one: str | None = None,
    ) -> Message:
        self = super().__new__(cls, text)
        self.template, self.values, self.one = text if template is None else template, values or {}, one
        return self

    def __str__(self) -> str:
        return self

    def mapped(self, change: Callable[[str], str]) -> Message:
        """The same sentence, each value that is a text or a message changed."""
        values = {name: change(value) if isinstance(value, str) else value for name, value in self.values.items()}
        return _made(self.template, values, self.one)


def message(template: str, /, **values: object) -> Message:
    """The sentence in English: `message("There is no sampler named {name}.", name=name)`.

    Values are texts, numbers and other messages; of anything else, such as an exception, its text is taken.
    """
    return _made(template, {name: _value(value) for name, value in values.items()})


def plural(one: str, many: str, number: int, /, **values: object) -> Message:
    """The one sentence or the other, as the number says, which is also their value `{number}`."""
    return _made(many, {"number": number, **{name: _value(value) for name, value in values.items()}}, one)


def sentences(*texts: object) -> str:
    """One after the other, without those that are empty."""
    return _in_pairs(lambda first, second: message("{first} {second}", first=first, second=second), texts)


def listed(texts: Iterable[object]) -> str:
    """With commas between them."""
    return _in_pairs(lambda first, second: message("{first}, {second}", first=first, second=second), texts)


def either(texts: Iterable[object]) -> str:
    """As a choice: `A, B or C`."""
    *others, last = [text for text in map(str, texts) if text] or [""]
    return message("{names} or {last}", names=listed(others), last=last) if others else last


def as_json(text: str) -> str | dict[str, Any]:
    """For JSON: a message as a table of `template`, `one` if it counts, and `values`. Other texts stay as they are."""
    return _packed(text, _DEEPEST)


def from_json(given: object) -> str:
    """The text of which `as_json` made this. It may be a stranger's. Raises ValueError."""
    try:
        return _unpacked(given, _DEEPEST)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def asked_for(template: str) -> tuple[tuple[str, str], ...]:
    """The values that a template shows, each with its format. Raises ValueError if it asks for more than values: for
    their attributes, say."""
    fields = [parts[1:] for parts in string.Formatter().parse(template) if parts[1] is not None]
    for name, form, conversion in fields:
        if conversion or not _NAME.fullmatch(name or "") or not _FORMATS.fullmatch(form or ""):
            raise ValueError("A template shows values by their plain names alone.")
    return tuple((name or "", form or "") for name, form, _ in fields)


def _in_pairs(joined: Callable[[str, str], str], texts: Iterable[object]) -> str:
    """One text of all that are not empty; many are no deeper in each other than they must be."""
    said = [text for text in map(str, texts) if text]
    while len(said) > 1:
        odd = said[len(said) & ~1 :]
        said = [joined(*pair) for pair in zip(said[::2], said[1::2], strict=False)] + odd
    return said[0] if said else ""


def _packed(text: str, deep: int) -> str | dict[str, Any]:
    if not isinstance(text, Message) or deep == 0 or len(text) > _LONGEST:
        return str.__str__(text)
    table: dict[str, Any] = {"template": text.template}
    if text.one is not None:
        table["one"] = text.one
    values = {
        name: _packed(value, deep - 1) if isinstance(value, str) else value for name, value in text.values.items()
    }
    return {**table, "values": values} if values else table


def _unpacked(given: object, deep: int) -> str:
    match given:
        case str():
            return given
        case {"template": str(template), **rest} if deep:
            given_values, one = rest.get("values", {}), rest.get("one")
            if isinstance(given_values, dict) and isinstance(one, str | None):
                values = {str(name): _value_of(value, deep - 1) for name, value in given_values.items()}
                if one is not None and not isinstance(values.get("number"), int):
                    raise ValueError("A message that counts has a number.")
                for each in (template, one or ""):
                    _check(each, values)
                return _made(template, values, one)
    raise ValueError("This is no packed message.")


def _value_of(value: object, deep: int) -> str | int | float:
    if isinstance(value, int | float):
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError("A number of a message is not that long.")
        return value
    return _unpacked(value, deep)


def _check(template: str, values: Mapping[str, str | int | float]) -> None:
    """Raises ValueError if a template from elsewhere asks for more than these values, or its sentence is too long."""
    names = [name for name, _ in asked_for(template)] if values else []
    if missing := set(names) - values.keys():
        raise ValueError(f"There is no value {min(missing)!r}.")
    if len(template) + sum(len(value) for name in names if isinstance(value := values[name], str)) > _LONGEST:
        raise ValueError("The message is too long.")


def _value(value: object) -> str | int | float:
    return value if isinstance(value, int | float) else str(value)


def _made(template: str, values: Mapping[str, str | int | float], one: str | None = None) -> Message:
    shown = one if one is not None and values.get("number") == 1 else template
    return Message(shown.format_map(values) if values else shown, template, values, one)

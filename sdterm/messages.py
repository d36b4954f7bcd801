"""What sdterm says: English sentences that remember how they were made, so that a front end can translate them.

A `Message` is a `str`, and anything that prints it goes on to work. Plugins may use these functions; plain strings
work, too, and stay English.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

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
    said = [text for text in map(str, texts) if text]
    return reduce(lambda first, second: message("{first} {second}", first=first, second=second), said) if said else ""


def listed(texts: Iterable[object]) -> str:
    """With commas between them."""
    said = [text for text in map(str, texts) if text]
    return reduce(lambda first, second: message("{first}, {second}", first=first, second=second), said) if said else ""


def either(texts: Iterable[object]) -> str:
    """As a choice: `A, B or C`."""
    *others, last = [text for text in map(str, texts) if text] or [""]
    return message("{names} or {last}", names=listed(others), last=last) if others else last


def as_json(text: str) -> str | dict[str, Any]:
    """For JSON: a message as a table of `template`, `one` if it counts, and `values`. Other texts stay as they are."""
    if not isinstance(text, Message):
        return text
    table: dict[str, Any] = {"template": text.template}
    if text.one is not None:
        table["one"] = text.one
    values = {name: as_json(value) if isinstance(value, str) else value for name, value in text.values.items()}
    return {**table, "values": values} if values else table


def from_json(given: object) -> str:
    """The text of which `as_json` made this. Raises ValueError."""
    match given:
        case str():
            return given
        case {"template": str(template), **rest}:
            values, one = rest.get("values", {}), rest.get("one")
            if isinstance(values, dict) and isinstance(one, str | None):
                for each in (template, one or ""):
                    _check(each, values)
                return _made(template, {str(name): _value_from(value) for name, value in values.items()}, one)
    raise ValueError("This is no packed message.")


def _value_from(value: object) -> str | int | float:
    return value if isinstance(value, int | float) else from_json(value)


def _check(template: str, values: Mapping[str, object]) -> None:
    """Raises ValueError if a template from elsewhere asks for more than these values."""
    for _, name, form, conversion in string.Formatter().parse(template) if values else ():
        if name is not None and (name not in values or conversion or not _FORMATS.fullmatch(form or "")):
            raise ValueError(f"The template {template!r} cannot be filled.")


def _value(value: object) -> str | int | float:
    return value if isinstance(value, int | float) else str(value)


def _made(template: str, values: Mapping[str, str | int | float], one: str | None = None) -> Message:
    shown = one if one is not None and values.get("number") == 1 else template
    return Message(shown.format_map(values) if values else shown, template, values, one)

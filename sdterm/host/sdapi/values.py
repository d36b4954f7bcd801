"""The names, types and defaults of A1111's requests, settings and answers, and its loose reading of values."""

import json
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from sdterm.errors import BAD_REQUEST, SdtermError

Table = Mapping[str, tuple[str, Any]]
_TABLES: Mapping[str, Any] = json.loads(files(__package__).joinpath("a1111.json").read_text(encoding="utf-8"))
TXT2IMG: Table = _TABLES["txt2img"]
IMG2IMG: Table = _TABLES["img2img"]
OPTIONS: Table = _TABLES["options"]
FLAGS: Table = _TABLES["flags"]
"""Name → (type in JSON's words, default), of A1111 1.9.4."""
EXTRAS: Table = _TABLES["extras"]
EXTRA_SINGLE: Table = {**EXTRAS, "image": ("any", "")}
EXTRA_BATCH: Table = {**EXTRAS, "imageList": ("array", ())}
PNG_INFO: Table = {"image": ("any", "")}
INTERROGATE: Table = {"image": ("any", ""), "model": ("string", "clip")}
TASK: Table = _TABLES["task"]
"""The same of the routes for pictures and progress."""
ANSWERS: Mapping[str, Mapping[str, str]] = _TABLES["answers"]
"""The schema of an answer → its names, "?" behind one that may be absent, and their types: `array X`, `map X`, or
another schema."""
SCRIPTS: Mapping[str, list[list[Any]]] = _TABLES["scripts"]
"""The always-on scripts that only say again what fields say → label, value, minimum, maximum and step of each
argument. A1111 passes over them."""

_TRUE, _FALSE = ("1", "on", "t", "true", "y", "yes"), ("0", "off", "f", "false", "n", "no")


def _boolean(value: Any) -> bool:
    word = str(int(value) if value in (0, 1) else value).lower()
    if isinstance(value, bool | int | float | str) and word in (*_TRUE, *_FALSE):
        return word in _TRUE
    raise ValueError


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError
    str(value).encode()  # half a character is none
    return str(value)


def _number(value: Any) -> float:
    return float(value)


def _any(value: Any) -> Any:
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # what comes out again
    return value


def _is_json(value: Any) -> bool:
    """Whether a list or dictionary can be written as JSON: answers echo it."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, float) and not math.isfinite(each):
            return False
        if isinstance(each, list | dict):
            left += each.values() if isinstance(each, dict) else each
    return True


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError
    return value


def _dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return value


_TYPES: Mapping[str, tuple[Callable[[Any], Any], str, str]] = {
    "integer": (int, "value is not a valid integer", "type_error.integer"),
    "number": (_number, "value is not a valid float", "type_error.float"),
    "boolean": (_boolean, "value could not be parsed to a boolean", "type_error.bool"),
    "string": (_text, "str type expected", "type_error.str"),
    "array": (_list, "value is not a valid list", "type_error.list"),
    "any": (_any, "value cannot be written as JSON", "type_error"),
    "object": (_dictionary, "value is not a valid dict", "type_error.dict"),
}


class NotFiniteError(SdtermError, ValueError):
    """A number of a body is infinite or none at all, which JSON does not have, and A1111 takes."""

    code = BAD_REQUEST


class InvalidError(SdtermError, ValueError):
    """A body that A1111 itself refuses. detail: in the words of pydantic 1, which its clients know."""

    code = BAD_REQUEST

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in detail))
        self.detail = detail


def with_defaults(values: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """A body with A1111's defaults, as it is echoed."""
    return {name: default for name, (_, default) in table.items()} | dict(values)


def read_values(body: Any, table: Table = TXT2IMG, *, place: str = "body") -> dict[str, Any]:
    """The values that a body gives, in the table's types: "4", 4.7 and true are whole numbers too, and null is any
    value's right. Names that the table lacks are passed over. place: where they come from. Raises InvalidError,
    NotFiniteError."""
    if not isinstance(body, dict):
        missing = {"loc": ["body"], "msg": "field required", "type": "value_error.missing"}
        raise InvalidError(
            [missing if body is None else {"loc": ["body"], "msg": _TYPES["object"][1], "type": _TYPES["object"][2]}]
        )
    values: dict[str, Any] = {}
    wrong: list[dict[str, Any]] = []
    for name, value in body.items():
        if name not in table:
            continue
        convert, message, kind = _TYPES[table[name][0]]
        try:
            values[name] = None if value is None else convert(value)
        except (ValueError, TypeError, OverflowError):
            wrong.append({"loc": [place, name], "msg": message, "type": kind})
    if wrong:
        raise InvalidError(wrong)
    if unwritable := [name for name, value in values.items() if isinstance(value, list | dict) and not _is_json(value)]:
        _, message, kind = _TYPES["any"]
        raise InvalidError([{"loc": [place, name], "msg": message, "type": kind} for name in unwritable])
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise NotFiniteError(f"{name} is {value}, which is no number to draw with.")
    return values

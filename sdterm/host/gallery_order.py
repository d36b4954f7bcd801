"""The gallery's orders: `seed` rises, `-steps` falls; what has no value comes last, and equal ones the newest first."""

import json
import math
from dataclasses import dataclass

from sdterm.core.names import UnknownNameError, find
from sdterm.errors import BAD_REQUEST, SdtermError

NEWEST = "-number"
"""The order that pictures are told in, unless another is asked for."""
_BEGINNING = 100  # characters of a prompt that count
KEYS = {
    "number": "p.id",
    "time": "p.saved",
    "job": "p.job",
    "kind": "p.kind",
    "seed": "substr('0000000000000000000000000' || p.seed, -25)",  # digits: a REAL has not enough of them
    "size": "p.width * p.height",
    **{column: f"p.{column}" for column in ("width", "height", "sampler", "schedule", "model", "hash", "version")},
    **{column: f"p.{column}" for column in ("steps", "cfg", "clip", "denoising")},
    "prompt": f"lower(substr(p.infotext, 1, {_BEGINNING}))",
}
"""What pictures are sorted by → its value in SQL, for the row `p` of a picture."""

Value = str | float | None


class OrderError(SdtermError, ValueError):
    """An order, or a place in one, cannot be understood; the message is a sentence."""

    code = BAD_REQUEST


@dataclass(frozen=True)
class Order:
    """What pictures are sorted by, and which way."""

    name: str
    falls: bool

    @property
    def key(self) -> str:
        """Its value in SQL."""
        return KEYS[self.name]

    @property
    def sql(self) -> str:
        """What stands behind ORDER BY."""
        way = "DESC" if self.falls else "ASC"
        return f"p.id {way}" if self.name == "number" else f"{self.key} IS NULL, {self.key} {way}, p.id DESC"

    def after(self, cursor: str) -> tuple[str, list[Value]]:
        """The condition that lets through what comes after that place. Raises OrderError."""
        number, value = _place(cursor)
        sign = "<" if self.falls else ">"
        if self.name == "number":
            return f"p.id {sign} ?", [number]
        if value is None:
            return f"{self.key} IS NULL AND p.id < ?", [number]
        later = f"{self.key} {sign} ? OR {self.key} IS NULL OR ({self.key} = ? AND p.id < ?)"
        return f"({later})", [value, value, number]

    def cursor(self, number: int, value: Value) -> str:
        """The place of a picture whose key is `value`."""
        said = json.dumps(value, ensure_ascii=False)
        return str(number) if self.name == "number" else f"{number},{said}"


def parse(text: str) -> Order:
    """Raises OrderError."""
    try:
        name = find("order", text.removeprefix("-"), {known: known for known in KEYS})
    except UnknownNameError as error:
        raise OrderError(str(error)) from None
    return Order(name, text.startswith("-"))


def _place(cursor: str) -> tuple[int, Value]:
    digits, _, said = cursor.partition(",")
    try:
        number, value = int(digits) if digits.isascii() and digits.isdecimal() else -1, json.loads(said or "null")
        if isinstance(value, str):
            value.encode()  # half a character is none
        elif value is not None:
            value = float(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        number, value = -1, None
    if not 0 <= number < 2**63 or (isinstance(value, float) and not math.isfinite(value)):
        raise OrderError("cursor is not the `next` of a page before.")
    return number, value

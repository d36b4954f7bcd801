"""What a number's field understands: numbers, `+ - * /` and brackets, exactly, and nothing else."""

import re
from fractions import Fraction

from sdterm.errors import BAD_REQUEST, SdtermError

_LONGEST = 60  # characters; nobody types more into such a field
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*|\.\d+)|([-+*/()]))\s*")


class SumError(SdtermError, ValueError):
    """It is none."""

    code = BAD_REQUEST


def evaluate(text: str) -> Fraction:
    """`512+64` → 576. Raises SumError."""
    tokens = _tokens(text)
    value, rest = _sum(tokens)
    if rest:
        raise SumError(text)
    return value


def _tokens(text: str) -> list[str]:
    if len(text) > _LONGEST or not text.isascii():
        raise SumError(text)
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise SumError(text)
        tokens.append(found[1] or found[2])
        at = found.end()
    return tokens


Rest = list[str]


def _sum(tokens: Rest) -> tuple[Fraction, Rest]:
    value, rest = _product(tokens)
    while rest and rest[0] in "+-":
        sign = rest[0]
        other, rest = _product(rest[1:])
        value = value + other if sign == "+" else value - other
    return value, rest


def _product(tokens: Rest) -> tuple[Fraction, Rest]:
    value, rest = _factor(tokens)
    while rest and rest[0] in "*/":
        sign = rest[0]
        other, rest = _factor(rest[1:])
        if sign == "/" and not other:
            raise SumError("a division by zero")
        value = value * other if sign == "*" else value / other
    return value, rest


def _factor(tokens: Rest) -> tuple[Fraction, Rest]:
    match tokens:
        case ["-", *rest]:
            value, rest = _factor(rest)
            return -value, rest
        case ["(", *rest]:
            value, rest = _sum(rest)
            if rest[:1] != [")"]:
                raise SumError("an open bracket")
            return value, rest[1:]
        case [number, *rest] if number[0].isdigit() or number[0] == ".":
            return Fraction(number), rest
    raise SumError("no number")

"""Which form a language gives a sentence that counts something: CLDR's categories, for whole numbers.

Languages that are not listed here have `one` for 1 and `other` for all else.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

Category = Literal["zero", "one", "two", "few", "many", "other"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

_Rule = Callable[[int], Category]


def _first(*parts: tuple[Category, bool]) -> Category:
    return next((category for category, holds in parts if holds), "other")


def _none(_: int) -> Category:
    return "other"


def _one(n: int) -> Category:
    return _first(("one", n == 1))


def _up_to_one(n: int) -> Category:
    return _first(("one", n in (0, 1)))


def _east_slavic(n: int) -> Category:
    teens = n % 100 in range(11, 15)
    return _first(("one", n % 10 == 1 and not teens), ("few", n % 10 in (2, 3, 4) and not teens), ("many", True))


def _south_slavic(n: int) -> Category:
    form = _east_slavic(n)
    return "other" if form == "many" else form


def _polish(n: int) -> Category:
    teens = n % 100 in range(11, 15)
    return _first(("one", n == 1), ("few", n % 10 in (2, 3, 4) and not teens), ("many", True))


def _czech(n: int) -> Category:
    return _first(("one", n == 1), ("few", n in (2, 3, 4)))


def _slovenian(n: int) -> Category:
    return _first(("one", n % 100 == 1), ("two", n % 100 == 2), ("few", n % 100 in (3, 4)))


def _lithuanian(n: int) -> Category:
    teens = n % 100 in range(11, 20)
    return _first(("one", n % 10 == 1 and not teens), ("few", n % 10 > 1 and not teens))


def _latvian(n: int) -> Category:
    zero = n % 10 == 0 or n % 100 in range(11, 20)
    return _first(("zero", zero), ("one", n % 10 == 1))


def _romanian(n: int) -> Category:
    return _first(("one", n == 1), ("few", n == 0 or n % 100 in range(1, 20)))


def _macedonian(n: int) -> Category:
    return _first(("one", n % 10 == 1 and n % 100 != 11))


def _hebrew(n: int) -> Category:
    return _first(("one", n == 1), ("two", n == 2))


def _arabic(n: int) -> Category:
    rest = n % 100
    few, many = rest in range(3, 11), rest in range(11, 100)
    return _first(("zero", n == 0), ("one", n == 1), ("two", n == 2), ("few", few), ("many", many))


def _welsh(n: int) -> Category:
    return _first(("zero", n == 0), ("one", n == 1), ("two", n == 2), ("few", n == 3), ("many", n == 6))


def _irish(n: int) -> Category:
    return _first(("one", n == 1), ("two", n == 2), ("few", n in range(3, 7)), ("many", n in range(7, 11)))


_RULES: Mapping[_Rule, str] = {
    _none: "bo dz id ig ja jv km ko lo ms my sah su th to vi wo yo yue zh",
    _up_to_one: "ak am as bn fa ff fr gu hi hy kn ln mg pa pt si ti wa zu",
    _east_slavic: "be ru uk",
    _south_slavic: "bs hr sh sr",
    _polish: "pl",
    _czech: "cs sk",
    _slovenian: "sl",
    _lithuanian: "lt",
    _latvian: "lv",
    _romanian: "mo ro",
    _macedonian: "is mk",
    _hebrew: "he iw",
    _arabic: "ar",
    _welsh: "cy",
    _irish: "ga",
}
_BY_LANGUAGE = {language: rule for rule, languages in _RULES.items() for language in languages.split()}


def category(language: str, number: int) -> Category:
    """CLDR's category of a number in a language, which is named as its file is: `ru`, `pt_BR`, `zh-TW`."""
    return _rule(language)(abs(number))


def categories(language: str) -> tuple[Category, ...]:
    """Those that a language has, in CLDR's order."""
    found = {_rule(language)(number) for number in range(201)}
    return tuple(each for each in CATEGORIES if each in found)


def _rule(language: str) -> _Rule:
    return _BY_LANGUAGE.get(language.replace("-", "_").partition("_")[0].lower(), _one)

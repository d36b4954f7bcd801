"""From the tree to texts: one by chance, or every one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice, permutations, product
from random import Random

from sdterm.hooks import PluginError

from .grammar import Choice, Node, Option, Sequence, Wildcard, parse_option

Wildcards = Mapping[str, tuple[str, ...]]

DEEPEST = 32
"""Wildcards within wildcards: one that names itself has no end."""
LONGEST = 65_536  # characters, as long as a prompt may be
_MOST = 1000  # texts that are ever asked for
_TRIES = 100_000  # for as many different ones
_VISITS = 20_000  # nodes of one text; wildcards that double themselves would fill the memory


def pick(sequence: Sequence, rng: Random, wildcards: Wildcards) -> str:
    """One text, by weight and chance. Raises PluginError."""
    visits = 0

    def text(sequence: Sequence, depth: int) -> str:
        nonlocal visits
        visits += len(sequence)
        if visits > _VISITS:
            raise PluginError("The wildcards make the prompt too long.")
        return "".join(node if isinstance(node, str) else chosen(node, depth) for node in sequence)

    def chosen(node: Wildcard | Choice, depth: int) -> str:
        if isinstance(node, Wildcard):
            options = lines(node, wildcards, depth)
            return text(_draw(list(options), rng).content, depth + 1)
        left = list(_options(node, wildcards, depth))
        count = rng.randint(min(node.low, len(left)), min(node.high, len(left)))
        parts = []
        for _ in range(count):
            option = _draw(left, rng)
            left.remove(option)
            parts.append(text(option.content, depth))
        return node.separator.join(parts)

    result = text(sequence, 0)
    _check_length(result)
    return result


def every(sequence: Sequence, wildcards: Wildcards) -> Iterator[str]:
    """Each text once, in the order of the options, the last choice changing fastest; made as they are asked for."""
    seen: set[str] = set()
    for text in islice(_every(sequence, wildcards, 0), _TRIES):
        _check_length(text)
        if text not in seen:
            seen.add(text)
            yield text


def _every(sequence: Sequence, wildcards: Wildcards, depth: int) -> Iterator[str]:
    # What comes after the thousandth of a part is asked for by nobody, since the last part changes fastest.
    parts = (tuple(islice(_each(node, wildcards, depth), _MOST)) for node in sequence)
    return map("".join, product(*parts))


def _each(node: Node, wildcards: Wildcards, depth: int) -> Iterator[str]:
    if isinstance(node, str):
        yield node
        return
    if isinstance(node, Wildcard):
        for option in lines(node, wildcards, depth):
            yield from _every(option.content, wildcards, depth + 1)
        return
    options = _options(node, wildcards, depth)
    for count in range(min(node.low, len(options)), min(node.high, len(options)) + 1):
        for chosen in permutations(options, count):
            parts = (tuple(islice(_every(option.content, wildcards, depth), _MOST)) for option in chosen)
            yield from map(node.separator.join, product(*parts))


def _options(choice: Choice, wildcards: Wildcards, depth: int) -> tuple[Option, ...]:
    """A choice of several from one wildcard is one from its lines, none of them twice."""
    (first, *others) = choice.options
    if not others and len(first.content) == 1 and isinstance(first.content[0], Wildcard):
        return lines(first.content[0], wildcards, depth)
    return choice.options


def lines(wildcard: Wildcard, wildcards: Wildcards, depth: int) -> tuple[Option, ...]:
    """What may stand for a wildcard. Raises PluginError if nothing may."""
    if depth >= DEEPEST:
        raise PluginError(f"The wildcard __{wildcard.name}__ leads to itself, or through more than {DEEPEST} others.")
    names = _matching(wildcard.name, wildcards)
    options = tuple(dict.fromkeys(option for name in names for option in _parsed(wildcards[name])))
    if not options:
        near = difflib.get_close_matches(wildcard.name, wildcards, n=3)
        hint = f" Did you mean {' or '.join(f'__{name}__' for name in near)}?" if near else ""
        what = "is empty" if names else "does not exist: it is a text file under wildcards/"
        raise PluginError(f"The wildcard __{wildcard.name}__ {what}.{hint}")
    return options


@lru_cache(maxsize=64)
def _parsed(lines: tuple[str, ...]) -> tuple[Option, ...]:
    return tuple(map(parse_option, lines))


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """`*` and `?` stand for anything within a folder's name, `**` for anything."""
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    compiled = re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.IGNORECASE)
    return sorted(name for name in names if compiled.fullmatch(name))


def _draw(options: list[Option], rng: Random) -> Option:
    weights = [option.weight for option in options]
    return rng.choices(options, weights)[0] if sum(weights) else rng.choice(options)


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise PluginError("The wildcards make the prompt too long.")

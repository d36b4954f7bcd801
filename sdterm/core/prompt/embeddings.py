"""Learned words (textual inversion): a file's name, written in a prompt, stands for what is in the file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdterm.core.prompt.chunks import Learned


@dataclass(frozen=True)
class Found:
    name: str
    at: int
    """The first of the tokens it takes the place of."""
    length: int


def find_embeddings(tokens: Sequence[int], names: Mapping[str, Sequence[int]]) -> tuple[Found, ...]:
    """Where the names stand among the tokens of one piece, from left to right, the longest first; they do not overlap.

    names: name → its tokens. A name that is an ordinary word takes that word. Source: A1111
    textual_inversion.find_embedding_at_position.
    """
    by_first: dict[int, list[tuple[str, list[int]]]] = {}
    for name, ids in sorted(names.items(), key=lambda item: -len(item[1])):
        if ids:
            by_first.setdefault(ids[0], []).append((name, list(ids)))
    found: list[Found] = []
    position = 0
    while position < len(tokens):
        here = next(
            (
                Found(name, position, len(ids))
                for name, ids in by_first.get(tokens[position], ())
                if list(tokens[position : position + len(ids)]) == ids
            ),
            None,
        )
        if here:
            found.append(here)
        position += here.length if here else 1
    return tuple(found)


def with_learned(
    tokens: Sequence[int], names: Mapping[str, Sequence[int]], lengths: Mapping[str, int]
) -> Iterator[int | Learned]:
    """The tokens with learned words in the place of their names. lengths: name → how many vectors it is."""
    at = 0
    for found in find_embeddings(tokens, names):
        yield from tokens[at : found.at]
        yield Learned(found.name, lengths[found.name])
        at = found.at + found.length
    yield from tokens[at:]

"""How A1111 weighed words at first: a token of brackets changes the weight of all tokens after it.

`(red:1.3)` is then `red:1.3`, a little heavier: numbers, BREAK and backslashes are text like any other.
"""

from collections.abc import Iterable, Mapping

from sdterm.core.prompt.chunks import Chunk, Learned
from sdterm.hooks import TokenRules

_BRACKETS = frozenset("()[]")


def bracket_factors(vocabulary: Mapping[str, int]) -> dict[int, float]:
    """The tokens that change the weight → what they multiply it with. vocabulary: text → token."""
    factors = {token: _factor(text) for text, token in vocabulary.items() if not _BRACKETS.isdisjoint(text)}
    return {token: factor for token, factor in factors.items() if factor != 1}


def _factor(token: str) -> float:
    factor = 1.0
    for character in token:
        if character in "([":
            factor = factor * 1.1 if character == "(" else factor / 1.1
        elif character in ")]":
            factor = factor / 1.1 if character == ")" else factor * 1.1
    return factor


def old_chunk(tokens: Iterable[int | Learned], factors: Mapping[int, float], rules: TokenRules) -> Chunk:
    """The one chunk that there is; what does not go into it is cut off. factors: of `bracket_factors`.

    Source: A1111 sd_hijack_clip_old.process_text_old."""
    read: list[int] = []
    weights: list[float] = []
    learned: list[tuple[int, str]] = []
    weight = 1.0
    for token in tokens:
        if isinstance(token, Learned):
            if len(read) <= rules.length:
                learned.append((len(read) + 1, token.name))
            read += [0] * token.length
            weights += [weight] * token.length
        elif token in factors:
            weight *= factors[token]
        else:
            read.append(token)
            weights.append(weight)
    read, weights = read[: rules.length], weights[: rules.length]
    padding = rules.length - len(read)
    return Chunk(
        (rules.start, *read, *[rules.pad] * padding, rules.end),
        (1.0, *weights, *[1.0] * (padding + 1)),
        len(read),
        tuple(learned),
    )

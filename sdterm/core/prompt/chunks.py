"""Tokens into the chunks that a text encoder reads at once, broken where A1111 breaks them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sdterm.hooks import TokenRules


@dataclass(frozen=True)
class Chunk:
    """Start, `TokenRules.length` tokens, end; each token with its weight."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    count: int
    """Tokens that are text, between the start and the padding."""
    learned: tuple[tuple[int, str], ...] = ()
    """Where the vectors of learned words stand, and of which."""


@dataclass(frozen=True)
class Learned:
    """A learned word among tokens: as many as it has vectors."""

    name: str
    length: int


def chunks(
    pieces: Iterable[tuple[Sequence[int | Learned] | None, float]], rules: TokenRules, comma_backtrack: int = 20
) -> list[Chunk]:
    """The chunks, at least one, of pieces: token ids and learned words, or None for a BREAK, and their weight. Start,
    end and padding weigh 1.

    A chunk that overflows within `comma_backtrack` tokens of a comma hands what follows the comma to the next one, so
    that a phrase is not cut in two; 0 is off. A learned word is never cut: it begins a chunk instead. One that is
    handed on so is lost, as in A1111. Source: A1111 sd_hijack_clip.tokenize_line.
    """
    done: list[Chunk] = []
    tokens: list[int] = []
    weights: list[float] = []
    learned: list[tuple[int, str]] = []
    comma = -1  # where the last comma of the open chunk stands

    def close(keep: int) -> None:
        nonlocal tokens, weights, learned, comma
        done.append(_padded(tokens[:keep], weights[:keep], learned, rules))
        tokens, weights, learned, comma = tokens[keep:], weights[keep:], [], -1

    for piece, weight in pieces:
        if piece is None:
            close(rules.length)
            continue
        for token in piece:
            if len(tokens) == rules.length:
                near = comma >= 0 and token != rules.comma and rules.length - comma <= comma_backtrack
                close(comma + 1 if near else rules.length)
            if isinstance(token, Learned):
                length = min(token.length, rules.length)
                if len(tokens) + length > rules.length:
                    close(rules.length)
                learned.append((len(tokens) + 1, token.name))
                tokens += [0] * length
                weights += [weight] * length
                continue
            if token == rules.comma:
                comma = len(tokens)
            tokens.append(token)
            weights.append(weight)
    if tokens or not done:
        close(rules.length)
    return done


def _padded(
    tokens: Sequence[int], weights: Sequence[float], learned: Sequence[tuple[int, str]], rules: TokenRules
) -> Chunk:
    padding = rules.length - len(tokens)
    return Chunk(
        (rules.start, *tokens, *[rules.pad] * padding, rules.end),
        (1.0, *weights, *[1.0] * (padding + 1)),
        len(tokens),
        tuple(learned),
    )

"""Tokens into the chunks that a text encoder reads at once, broken where A1111 breaks them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sdterm.hooks import TokenRules


@dataclass(frozen=True)
class Chunk:
    """What the encoder reads at once: start, `rules.length` tokens, end; and the weight of each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def chunks(
    pieces: Iterable[tuple[Sequence[int] | None, float]], rules: TokenRules, comma_backtrack: int = 20
) -> list[Chunk]:
    """Pieces (token ids, or None for a BREAK; weight) as chunks, padded; at least one.

    A chunk that overflows within `comma_backtrack` tokens of a comma hands what follows the comma to the next one, so
    that a phrase is not cut in two; 0 is off. Source: A1111 sd_hijack_clip.tokenize_line.
    """
    done: list[Chunk] = []
    open_chunk: list[tuple[int, float]] = []
    after_comma = 0  # position behind the last comma of the open chunk, 0 for none

    for tokens, weight in pieces:
        if tokens is None:
            done.append(_padded(open_chunk, rules))
            open_chunk, after_comma = [], 0
            continue
        for token in tokens:
            if len(open_chunk) == rules.length:
                keep = rules.length
                if after_comma and token != rules.comma and rules.length - after_comma < comma_backtrack:
                    keep = after_comma
                done.append(_padded(open_chunk[:keep], rules))
                open_chunk, after_comma = open_chunk[keep:], 0
            open_chunk.append((token, weight))
            if token == rules.comma:
                after_comma = len(open_chunk)
    if open_chunk or not done:
        done.append(_padded(open_chunk, rules))
    return done


def empty_chunk(rules: TokenRules) -> Chunk:
    return _padded([], rules)


def _padded(tokens: Sequence[tuple[int, float]], rules: TokenRules) -> Chunk:
    padding = [(rules.pad, 1.0)] * (rules.length - len(tokens))
    ids, weights = zip((rules.start, 1.0), *tokens, *padding, (rules.end, 1.0), strict=True)
    return Chunk(ids, weights)

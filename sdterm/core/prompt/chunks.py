"""Tokens into the chunks that a text encoder reads at once, broken where A1111 breaks them."""

from collections.abc import Sequence

from sdterm.hooks import TokenRules

COMMA_BACKTRACK = 20  # tokens; A1111's comma_padding_backtrack


def chunks(tokens: Sequence[int], rules: TokenRules) -> list[list[int]]:
    """Chunks of start + `rules.length` tokens + end, padded; at least one.

    A chunk that overflows within 20 tokens of a comma hands what follows the comma to the next one, so that a phrase
    is not cut in two. Source: A1111 sd_hijack_clip.tokenize_line.
    """
    done: list[list[int]] = []
    open_chunk: list[int] = []
    after_comma = 0  # position behind the last comma of the open chunk, 0 for none

    for token in tokens:
        if len(open_chunk) == rules.length:
            keep = rules.length
            if after_comma and token != rules.comma and rules.length - after_comma < COMMA_BACKTRACK:
                keep = after_comma
            done.append(open_chunk[:keep])
            open_chunk, after_comma = open_chunk[keep:], 0
        open_chunk.append(token)
        if token == rules.comma:
            after_comma = len(open_chunk)
    if open_chunk or not done:
        done.append(open_chunk)
    return [[rules.start, *chunk, *[rules.pad] * (rules.length - len(chunk)), rules.end] for chunk in done]

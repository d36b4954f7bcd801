"""Texts → text vectors as A1111 makes them with CLIP: in chunks of 75 tokens, words weighed by brackets."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from sdterm.core.prompt.chunks import Chunk, chunks
from sdterm.core.prompt.emphasis import BREAK, pieces
from sdterm.hooks import TextOptions, TokenRules

_AT_ONCE = 16  # chunks encoded in one call, so that a very long prompt needs no more memory than a long one


class Encoded(NamedTuple):
    """What encoders make of texts."""

    vectors: torch.Tensor
    """[B, L, C]."""
    pooled: torch.Tensor | None = None
    """[B, P]: of a whole text, where an encoder has that."""


class TextEncoder(Protocol):
    """One text encoder of a model."""

    rules: TokenRules
    device: torch.device

    def tokenize(self, text: str) -> Sequence[int]:
        """Token ids without start, end and padding."""
        ...

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> Encoded:
        """Chunks of token ids [n, 77], whole with start, end and padding → vectors [n, 77, C], pooled [n, P]."""
        ...


def encode_texts(encoders: Sequence[TextEncoder], texts: Sequence[str], options: TextOptions) -> Encoded:
    """All texts as long as the longest, the encoders' vectors side by side; pooled by the last encoder that pools, of
    each text's first chunk. The texts are one batch, because A1111's emphasis keeps the mean of a batch: there, one
    text's weights touch the others'."""
    lines = [{text: _chunks(encoder, text, options) for text in texts} for encoder in encoders]
    longest = max(len(line) for of_encoder in lines for line in of_encoder.values())
    parts = [
        _encoded(encoder, [of_encoder[text] for text in texts], longest, options)
        for encoder, of_encoder in zip(encoders, lines, strict=True)
    ]
    pooled = next((part.pooled for part in reversed(parts) if part.pooled is not None), None)
    return Encoded(torch.cat([part.vectors for part in parts], dim=-1) if len(parts) > 1 else parts[0].vectors, pooled)


def _encoded(encoder: TextEncoder, lines: Sequence[list[Chunk]], longest: int, options: TextOptions) -> Encoded:
    """By one encoder, lines filled up to `longest` chunks."""
    padding = chunks((), encoder.rules)[0]
    columns = [[(line + [padding] * longest)[i] for line in lines] for i in range(longest)]
    distinct = {chunk.tokens: index for index, chunk in enumerate(dict.fromkeys(c for col in columns for c in col))}
    read = [
        encoder.encode(tokens, options.clip_skip)
        for tokens in torch.split(torch.tensor(list(distinct), device=encoder.device), _AT_ONCE)
    ]
    vectors = torch.cat([each.vectors for each in read])
    weighted = [
        _weighted(vectors[[distinct[chunk.tokens] for chunk in column]], column, options.emphasis) for column in columns
    ]
    pools = [each.pooled for each in read if each.pooled is not None]
    pooled = torch.cat(pools)[[distinct[chunk.tokens] for chunk in columns[0]]] if pools else None
    return Encoded(torch.cat(weighted, dim=1), pooled)


def _chunks(encoder: TextEncoder, text: str, options: TextOptions) -> list[Chunk]:
    if options.emphasis == "None":
        return chunks([(encoder.tokenize(text), 1.0)], encoder.rules, options.comma_backtrack)
    parsed = (
        (None if (piece.text, piece.weight) == ("BREAK", BREAK) else encoder.tokenize(piece.text), piece.weight)
        for piece in pieces(text)
    )
    return chunks(parsed, encoder.rules, options.comma_backtrack)


def _weighted(vectors: torch.Tensor, column: Sequence[Chunk], emphasis: str) -> torch.Tensor:
    """Text vectors [B, 77, C] times their tokens' weights. Source: A1111 sd_emphasis; "Original" then scales the whole
    so that its mean is what it was."""
    if emphasis not in ("Original", "No norm") or all(weight == 1 for chunk in column for weight in chunk.weights):
        return vectors
    weights = torch.tensor([chunk.weights for chunk in column]).to(vectors)
    multiplied = vectors * weights[..., None]
    mean = multiplied.mean()
    return multiplied if emphasis == "No norm" or mean == 0 else multiplied * (vectors.mean() / mean)

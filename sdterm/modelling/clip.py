"""Texts → text vectors as A1111 makes them with CLIP: in chunks of 75 tokens, words weighed by brackets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from sdterm.core.prompt.chunks import Chunk, Learned, chunks
from sdterm.core.prompt.embeddings import with_learned
from sdterm.core.prompt.emphasis import BREAK, pieces
from sdterm.hooks import PluginError, TextOptions, TokenRules
from sdterm.messages import message
from sdterm.modelling.old_emphasis import old_chunk

Words = Mapping[str, torch.Tensor]
"""Learned word → its vectors [n, C] for one encoder."""
_Alike = tuple[tuple[int, ...], tuple[tuple[int, str], ...]]
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
    token_embedding: torch.nn.Module
    """Token ids → vectors, where learned words come in."""
    width: int
    """Of these vectors."""

    @property
    def brackets(self) -> Mapping[int, float] | None:
        """Tokens that A1111's old emphasis takes for brackets → what they multiply the weight with; None: it cannot."""
        ...

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
    if options.old_emphasis and any(encoder.brackets is None for encoder in encoders):
        raise PluginError(
            message(
                "Old emphasis works only with SD 1.x, as in A1111: the text encoders of OpenCLIP do not "
                "support it. Turn it off"
            )
        )
    learned = [{word: vectors[i] for word, vectors in options.words.items()} for i in range(len(encoders))]
    lines = [
        {text: _chunks(encoder, text, words, options) for text in texts}
        for encoder, words in zip(encoders, learned, strict=True)
    ]
    longest = max(len(line) for of_encoder in lines for line in of_encoder.values())
    parts = [
        _encoded(encoder, [of_encoder[text] for text in texts], longest, words, options)
        for encoder, of_encoder, words in zip(encoders, lines, learned, strict=True)
    ]
    pooled = next((part.pooled for part in reversed(parts) if part.pooled is not None), None)
    return Encoded(torch.cat([part.vectors for part in parts], dim=-1) if len(parts) > 1 else parts[0].vectors, pooled)


def _encoded(
    encoder: TextEncoder, lines: Sequence[list[Chunk]], longest: int, words: Words, options: TextOptions
) -> Encoded:
    """By one encoder, lines filled up to `longest` chunks."""
    padding = chunks((), encoder.rules)[0]
    columns = [[(line + [padding] * longest)[i] for line in lines] for i in range(longest)]
    distinct = {_read_alike(chunk): None for column in columns for chunk in column}
    number = {chunk: index for index, chunk in enumerate(distinct)}
    read = [_read(encoder, some, words, options.clip_skip) for some in _some([*distinct])]
    vectors = torch.cat([each.vectors for each in read])
    weighted = [
        _weighted(vectors[[number[_read_alike(chunk)] for chunk in column]], column, options.emphasis)
        for column in columns
    ]
    pools = [each.pooled for each in read if each.pooled is not None]
    pooled = torch.cat(pools)[[number[_read_alike(chunk)] for chunk in columns[0]]] if pools else None
    return Encoded(torch.cat(weighted, dim=1), pooled)


def _some(distinct: Sequence[_Alike]) -> Iterator[Sequence[_Alike]]:
    yield from (distinct[at : at + _AT_ONCE] for at in range(0, len(distinct), _AT_ONCE))


def _read_alike(chunk: Chunk) -> _Alike:
    """What chunks have in common that an encoder reads as one."""
    return chunk.tokens, chunk.learned


def _read(encoder: TextEncoder, distinct: Sequence[_Alike], words: Words, clip_skip: int) -> Encoded:
    def with_words(module: torch.nn.Module, given: object, vectors: torch.Tensor) -> torch.Tensor:
        """Source: A1111 sd_hijack.EmbeddingsWithFixes."""
        vectors = vectors.clone()
        for row, (_, learned) in enumerate(distinct):
            for at, name in learned:
                word = words[name][: vectors.shape[1] - at]
                vectors[row, at : at + len(word)] = word.to(vectors)
        return vectors

    tokens = torch.tensor([tokens for tokens, _ in distinct], device=encoder.device)
    if not any(learned for _, learned in distinct):
        return encoder.encode(tokens, clip_skip)
    hook = encoder.token_embedding.register_forward_hook(with_words)
    try:
        return encoder.encode(tokens, clip_skip)
    finally:
        hook.remove()


def _chunks(encoder: TextEncoder, text: str, words: Words, options: TextOptions) -> list[Chunk]:
    names = {word: encoder.tokenize(word) for word in words}
    lengths = {word: len(vectors) for word, vectors in words.items()}

    def tokens(text: str) -> list[int | Learned]:
        return [*with_learned(encoder.tokenize(text), names, lengths)]

    if options.old_emphasis:
        factors = encoder.brackets if encoder.brackets and options.emphasis != "None" else {}
        return [old_chunk(tokens(text), factors, encoder.rules)]
    if options.emphasis == "None":
        return chunks([(tokens(text), 1.0)], encoder.rules, options.comma_backtrack)
    parsed = (
        (None if (piece.text, piece.weight) == ("BREAK", BREAK) else tokens(piece.text), piece.weight)
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

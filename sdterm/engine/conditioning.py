"""Prompts → conditioning: what guides an image at each of its steps.

An image's prompt is a composition of parts; a part has one text for each stretch of steps. All texts of a part are
encoded as one batch, because A1111's emphasis keeps the mean of a batch: there, one text's weights touch the others'.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdterm.core.prompt.chunks import Chunk, chunks
from sdterm.core.prompt.composition import composition
from sdterm.core.prompt.emphasis import BREAK, pieces
from sdterm.core.prompt.schedule import schedule
from sdterm.hooks import Components, TokenRules
from sdterm.request import GenerationRequest

_KEPT = 64 * 2**20  # bytes of encoded texts
_AT_ONCE = 16  # chunks encoded in one call, so that a very long prompt needs no more memory than a long one


@dataclass(frozen=True)
class Part:
    """One prompt of a composition: its weight, and its text vectors [L, C] up to and including each call `until`."""

    weight: float
    until: tuple[int, ...]
    vectors: tuple[torch.Tensor, ...]

    def at(self, call: int) -> int:
        """Which of the vectors guide that call, counted from 0. Past the end it is the first, as in A1111."""
        return next((index for index, until in enumerate(self.until) if call <= until), 0)


class Conditioner:
    """Encodes the prompts of one loaded model, remembering the latest."""

    def __init__(self, components: Components, rules: TokenRules) -> None:
        self._components = components
        self._rules = rules
        self._encoded: OrderedDict[tuple[tuple[str, ...], int, str, int], tuple[torch.Tensor, ...]] = OrderedDict()

    def prompt(self, text: str, request: GenerationRequest, calls: int) -> tuple[Part, ...]:
        """The parts of a prompt, network tags taken out, over a run that is planned to make `calls` network calls."""
        return tuple(self._part(part.text, part.weight, request, calls) for part in composition(text))

    def negative(self, text: str, request: GenerationRequest, calls: int) -> Part:
        """A negative prompt is no composition."""
        return self._part(text, 1.0, request, calls)

    def empty(self, request: GenerationRequest) -> torch.Tensor:
        """The vectors [77, C] of no text."""
        return self._texts(("",), request)[0]

    def _part(self, text: str, weight: float, request: GenerationRequest, calls: int) -> Part:
        entries = schedule(text, calls, old=request.old_prompt_editing)
        vectors = self._texts(tuple(entry.text for entry in entries), request)
        return Part(weight, tuple(entry.until for entry in entries), vectors)

    def _texts(self, texts: tuple[str, ...], request: GenerationRequest) -> tuple[torch.Tensor, ...]:
        key = (texts, request.clip_skip, request.emphasis, request.comma_backtrack)
        if key not in self._encoded:
            self._encoded[key] = self._encode(texts, request)
        self._encoded.move_to_end(key)
        while len(self._encoded) > 1 and sum(map(_size, self._encoded.values())) > _KEPT:
            self._encoded.popitem(last=False)
        return self._encoded[key]

    def _encode(self, texts: Sequence[str], request: GenerationRequest) -> tuple[torch.Tensor, ...]:
        """A [77 * chunks, C] tensor for each text: all as long as the longest."""
        lines = {text: self._chunks(text, request) for text in texts}
        longest = max(map(len, lines.values()))
        padding = chunks((), self._rules)[0]
        columns = [[(lines[text] + [padding] * longest)[i] for text in texts] for i in range(longest)]
        distinct = {chunk.tokens: index for index, chunk in enumerate(dict.fromkeys(c for col in columns for c in col))}
        read = torch.cat(
            [
                self._components.encode(tokens, request.clip_skip)
                for tokens in torch.split(torch.tensor(list(distinct), device=self._components.device), _AT_ONCE)
            ]
        )
        weighted = [
            _weighted(read[[distinct[chunk.tokens] for chunk in column]], column, request.emphasis)
            for column in columns
        ]
        return tuple(torch.cat(weighted, dim=1))

    def _chunks(self, text: str, request: GenerationRequest) -> list[Chunk]:
        tokenize = self._components.tokenize
        if request.emphasis == "None":
            return chunks([(tokenize(text), 1.0)], self._rules, request.comma_backtrack)
        parsed = (
            (None if (piece.text, piece.weight) == ("BREAK", BREAK) else tokenize(piece.text), piece.weight)
            for piece in pieces(text)
        )
        return chunks(parsed, self._rules, request.comma_backtrack)


def _weighted(vectors: torch.Tensor, column: Sequence[Chunk], emphasis: str) -> torch.Tensor:
    """Text vectors [B, 77, C] times their tokens' weights. Source: A1111 sd_emphasis; "Original" then scales the whole
    so that its mean is what it was."""
    if emphasis not in ("Original", "No norm") or all(weight == 1 for chunk in column for weight in chunk.weights):
        return vectors
    weights = torch.tensor([chunk.weights for chunk in column]).to(vectors)
    multiplied = vectors * weights[..., None]
    mean = multiplied.mean()
    return multiplied if emphasis == "No norm" or mean == 0 else multiplied * (vectors.mean() / mean)


def _size(vectors: Sequence[torch.Tensor]) -> int:
    return sum(v.numel() * v.element_size() for v in vectors)

"""Text → conditioning: tokenise, chunk, encode; each text of a model once."""

from collections import OrderedDict
from collections.abc import Iterable

import torch

from sdterm.core.prompt.chunks import chunks
from sdterm.hooks import Components, TokenRules

_KEPT = 64  # texts; at SD1's 77 x 768 float32, 15 MB
_AT_ONCE = 16  # chunks encoded in one call, so that a very long prompt needs no more memory than a long one


class Conditioner:
    """Encodes the texts of one loaded model, remembering the latest."""

    def __init__(self, components: Components, rules: TokenRules) -> None:
        self._components = components
        self._rules = rules
        self._encoded: OrderedDict[tuple[str, int], torch.Tensor] = OrderedDict()

    def __call__(self, texts: Iterable[str], clip_skip: int) -> list[torch.Tensor]:
        """A [77 * chunks, C] tensor for each text."""
        return [self._one(text, clip_skip) for text in texts]

    def _one(self, text: str, clip_skip: int) -> torch.Tensor:
        key = (text, clip_skip)
        if key not in self._encoded:
            tokens = torch.tensor(chunks(self._components.tokenize(text), self._rules), device=self._components.device)
            parts = [self._components.encode(part, clip_skip) for part in torch.split(tokens, _AT_ONCE)]
            self._encoded[key] = torch.cat(parts).flatten(0, 1)
        self._encoded.move_to_end(key)
        while len(self._encoded) > _KEPT:
            self._encoded.popitem(last=False)
        return self._encoded[key]

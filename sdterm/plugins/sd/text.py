"""CLIP text encoders as Stable Diffusion's models use them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import cast

import torch

from sdterm.hooks import TokenRules
from sdterm.modelling.clip import Encoded
from sdterm.modelling.old_emphasis import bracket_factors
from sdterm.plugins.sd.clip_text import ClipTextModel, States
from sdterm.plugins.sd.tokenizer import tokenize, tokenize_open, vocabulary
from sdterm.plugins.sd.tokens import TOKENS


class Clip:
    """OpenAI's CLIP. final: as SD 1.x has it, the state -clip_skip and the last layer norm; else as SDXL has it, the
    state before the last layer, whatever clip_skip says, and no norm."""

    rules: TokenRules = TOKENS

    def __init__(self, module: torch.nn.Module, device: torch.device, *, final: bool) -> None:
        self._module = cast(ClipTextModel, module)
        self.device, self._final = device, final
        self.token_embedding: torch.nn.Module = self._module.embeddings.token_embedding
        self.width = self._module.config.hidden_size

    @cached_property
    def brackets(self) -> Mapping[int, float]:
        return bracket_factors(vocabulary())

    def tokenize(self, text: str) -> list[int]:
        return tokenize(text)

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> Encoded:
        if not self._final:
            return Encoded(self._module(tokens).hidden[-2])
        states: States = self._module(tokens)
        if clip_skip == 1:
            return Encoded(states.last)
        layer = max(-clip_skip, -len(states.hidden))
        return Encoded(self._module.final_layer_norm(states.hidden[layer]))


class OpenClip:
    """OpenCLIP: the state before the last layer. final: with the last layer norm, as SD 2 has it. whole: False if the
    last layer, which SD 2 does not need, was left out of the file. If the module has a `text_projection`, a text is
    pooled too, as for SDXL."""

    rules: TokenRules = TOKENS
    brackets: Mapping[int, float] | None = None

    def __init__(self, module: torch.nn.Module, device: torch.device, *, final: bool, whole: bool = True) -> None:
        self._module = cast(ClipTextModel, module)
        self.device, self._final, self._whole = device, final, whole
        self.token_embedding: torch.nn.Module = self._module.embeddings.token_embedding
        self.width = self._module.config.hidden_size

    def tokenize(self, text: str) -> list[int]:
        return tokenize_open(text)

    def encode(self, tokens: torch.Tensor, clip_skip: int) -> Encoded:
        ended = (tokens == self.rules.end).int().cumsum(-1)
        tokens = torch.where((ended > 1) | ((ended == 1) & (tokens != self.rules.end)), 0, tokens)
        states: States = self._module(tokens)
        if not self._whole:
            return Encoded(states.last)
        vectors = states.hidden[-2]
        if self._final:
            vectors = self._module.final_layer_norm(vectors)
        projection = getattr(self._module, "text_projection", None)
        if projection is None:
            return Encoded(vectors)
        whole = states.last[torch.arange(len(tokens), device=tokens.device), tokens.argmax(-1)]
        return Encoded(vectors, whole @ projection)

"""Embeddings (textual inversion): vectors that a word of the prompt stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sdterm.hooks import Adaptable, LoadedNetwork, PluginError, WeightsReader
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

_PAIR = ("clip_l", "clip_g")
_TEXTUAL_INVERSION = "string_to_param."


def matches(reader: WeightsReader) -> bool:
    """Whether it holds an embedding's tensors and no more."""
    return 0 < len(_own(reader)) <= len(_PAIR)


def load(reader: WeightsReader, model: Adaptable) -> LoadedNetwork:
    """Its vectors, under the file's name."""
    own = _own(reader)
    tensors = reader.read(list(own), model.device, None)
    return LoadedNetwork(words={reader.path.stem: word_vectors({own[key]: tensors[key] for key in own})})


def _own(reader: WeightsReader) -> dict[str, str]:
    """Key → name, of A1111's own files those that are the embedding."""
    keys = list(reader.shapes())
    own = [key for key in keys if key.startswith(_TEXTUAL_INVERSION)] or keys
    return {key: key.removeprefix(_TEXTUAL_INVERSION) for key in own}


def word_vectors(tensors: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """For each text encoder [n, C] float32: SDXL's two from a pair, else one. Raises PluginError."""
    if all(name in tensors for name in _PAIR):
        found = [tensors[name] for name in _PAIR]
    elif len(tensors) == 1:
        found = list(tensors.values())
    else:
        raise PluginError(
            message(
                "It has {number} tensors, but an embedding has either one or `clip_l` and `clip_g`.",
                number=len(tensors),
            )
        )
    vectors = tuple((tensor[None] if tensor.dim() == 1 else tensor).float() for tensor in found)
    if any(each.dim() != 2 for each in vectors) or len({len(each) for each in vectors}) > 1:
        raise PluginError(message("Its vectors do not have the shape of an embedding."))
    return vectors

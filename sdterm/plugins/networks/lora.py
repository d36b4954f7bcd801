"""LoRA and its kin: LoCon, LoHa, LoKr, IA3, full differences, norms, GLora, OFT, DoRA; kohya's, LyCORIS' and PEFT's
files."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from sdterm.hooks import Adaptable, Delta, Layer, LoadedNetwork, WeightsReader
from sdterm.plugins.networks.embedding import word_vectors
from sdterm.plugins.networks.names import BUNDLED, LayerNames, taken_apart

if TYPE_CHECKING:
    import torch

_PARTS = (
    "lora_down.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a", "diff", "w_norm", "on_input", "a1.weight", "oft_blocks",
    "oft_diag",
)  # fmt: skip
"""One of which every layer of a kind that is known has."""
_TOGETHER = ("q_proj", "k_proj", "v_proj", "out_proj")


def matches(reader: WeightsReader) -> bool:
    """Whether it holds changes of layers, or only words."""
    found = (taken_apart(key) for key in reader.shapes())
    return any(tensor.part in _PARTS or tensor.layer == BUNDLED for tensor in found)


def load(reader: WeightsReader, model: Adaptable) -> LoadedNetwork:
    """The deltas of all layers that the model has."""
    from sdterm.plugins.networks.deltas import delta_of

    names, layers = LayerNames(model.layers), model.layers
    parts: dict[str, dict[str, str]] = defaultdict(dict)  # layer → part → key
    bundled: dict[str, dict[str, str]] = defaultdict(dict)  # word → tensor → key
    unknown: set[str] = set()
    for key in reader.shapes():
        tensor = taken_apart(key)
        if tensor.layer == BUNDLED:
            word, _, part = tensor.part.partition(".")
            bundled[word][part.removeprefix("string_to_param.")] = key
        elif name := names.find(tensor.layer):
            parts[name][tensor.part] = key
        else:
            unknown.add(tensor.layer)
    for name in [*_in_part(parts, layers)]:
        unknown.add(name)
        del parts[name]
    keys = [key for of in (*parts.values(), *bundled.values()) for key in of.values()]
    tensors = reader.read(keys, model.device, None)
    alphas = _alphas(reader)
    deltas: dict[str, Delta] = {}
    for name, of in parts.items():
        own = {part: tensors[key] for part, key in of.items()}
        if "alpha" not in own and (alpha := alphas.get(name.partition(".")[0])) is not None:
            own["alpha"] = own["lora_down.weight"].new_tensor(alpha)
        delta = delta_of(own, tuple(cast("torch.Tensor", layers[name].module.weight).shape), model.dtype)
        if delta is None:
            unknown.add(name)
        else:
            deltas[name] = delta
    words = {word: word_vectors({part: tensors[key] for part, key in of.items()}) for word, of in bundled.items()}
    return LoadedNetwork(deltas, words=words, unused=len(unknown))


def _in_part(called: Collection[str], layers: Mapping[str, Layer]) -> Iterator[str]:
    """Layers of attention that the checkpoint keeps in one tensor: A1111 changes all of them or none."""
    for name in called:
        attention = name.rpartition(".")[0]
        together = [f"{attention}.{layer}" for layer in _TOGETHER]
        joined = name in together and all(each in layers for each in together)
        if joined and layers[together[0]].origins["weight"].shaped and not all(each in called for each in together):
            yield name


def _alphas(reader: WeightsReader) -> dict[str, float]:
    """Part of the model → alpha, where PEFT wrote it into the metadata instead of beside each layer."""
    try:
        said = json.loads(reader.metadata.get("lora_adapter_metadata", "{}"))
        found = {str(key).rpartition(".")[0]: value for key, value in said.items() if str(key).endswith(".lora_alpha")}
    except (ValueError, AttributeError, RecursionError):
        return {}
    return {
        part: float(value) for part, value in found.items() if isinstance(value, int | float) and math.isfinite(value)
    }

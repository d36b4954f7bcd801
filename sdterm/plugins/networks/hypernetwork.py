"""A1111's hypernetworks: small networks before the keys and values of attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from sdterm.hooks import Adaptable, LoadedNetwork, PluginError, WeightsReader
from sdterm.messages import message

_ACTIVATIONS: Mapping[str, type[torch.nn.Module]] = {
    "relu": torch.nn.ReLU,
    "leakyrelu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "swish": torch.nn.Hardswish,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    **{
        name.lower(): kind
        for name, kind in vars(torch.nn.modules.activation).items()
        if isinstance(kind, type) and kind.__module__ == "torch.nn.modules.activation"
    },
}
"""By A1111's names: the first six, then torch's own."""
_SIDES = ("to_k", "to_v")


def load(reader: WeightsReader, model: Adaptable) -> LoadedNetwork:
    """The changes of what attention reads. Raises PluginError."""
    said = reader.content if isinstance(reader.content, Mapping) else {}
    tensors: dict[tuple[int, int], dict[str, torch.Tensor]] = {}  # width and side → the tensors of its network
    read = reader.read(list(reader.shapes()), model.device, model.dtype)
    for key, tensor in read.items():
        path = key.split(".", 2)
        if len(path) > 2 and path[0].isdecimal() and path[1].isdecimal():
            tensors.setdefault((int(path[0]), int(path[1])), {})[path[2]] = tensor
    networks = {pair: _built(own, said) for pair, own in tensors.items()}
    inputs: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {}
    for name, layer in model.layers.items():
        width, side = getattr(layer.module, "in_features", 0), name.rpartition(".")[2]
        if layer.part == "unet" and side in _SIDES and (network := networks.get((width, _SIDES.index(side)))):
            inputs[name] = network
    return LoadedNetwork(inputs=inputs)


def _built(
    tensors: Mapping[str, torch.Tensor], state: Mapping[Any, Any]
) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """One network. Source: A1111 hypernetwork.HypernetworkModule: Linear, activation, LayerNorm, Dropout, by turns."""
    structure = state.get("layer_structure") or [1, 2, 1]
    activation, normed = state.get("activation_func"), bool(state.get("is_layer_norm"))
    last, dropout = bool(state.get("activate_output", True)), _dropout(state, structure)
    named = {old: new for old, new in (("linear1", "linear.0"), ("linear2", "linear.1"))}
    tensors = {
        ".".join([named.get(first, first), *rest]): tensor
        for key, tensor in tensors.items()
        for first, *rest in [str(key).split(".")]
    }
    stages: list[Callable[[torch.Tensor], torch.Tensor]] = []
    number = 0

    def own(part: str) -> torch.Tensor:
        try:
            return tensors[f"linear.{number}.{part}"]
        except KeyError as error:
            raise PluginError(
                message("`linear.{number}.{part}` is missing, which its structure needs.", number=number, part=part)
            ) from error

    for step in range(len(structure) - 1):
        stages.append(_linear(own("weight"), own("bias")))
        number += 1
        if activation not in (None, "linear") and (step < len(structure) - 2 or last):
            kind = _ACTIVATIONS.get(str(activation).lower())
            if kind is None:
                raise PluginError(message("Its activation function '{name}' is not supported.", name=activation))
            stages.append(kind())
            number += 1
        if normed:
            stages.append(_layer_norm(own("weight"), own("bias")))
            number += 1
        if dropout and step + 1 < len(dropout) and dropout[step + 1] > 0:
            number += 1  # it does nothing when a picture is drawn

    def change(x: torch.Tensor, multiplier: float) -> torch.Tensor:
        y = x
        for stage in stages:
            y = stage(y)
        return x + y * multiplier

    return change


def _dropout(state: Mapping[Any, Any], structure: Sequence[float]) -> Sequence[float]:
    """Of each layer. Source: A1111 hypernetwork.parse_dropout_structure."""
    said = state.get("dropout_structure")
    if isinstance(said, Sequence) and said:
        return said
    if not state.get("use_dropout"):
        return ()
    before = 0.3 if state.get("last_layer_dropout") else 0.0
    return [0.0, *[0.3] * (len(structure) - 3), before, 0.0]


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.nn.functional.linear(x, weight, bias)


def _layer_norm(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.nn.functional.layer_norm(x, weight.shape, weight, bias)

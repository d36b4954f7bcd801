"""Networks on a loaded model: put on before texts are encoded, taken off without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import torch

from sdterm.core.planning.networks import NetworkPlan
from sdterm.core.text import printable
from sdterm.hooks import Adaptable, Layer, LoadedNetwork, WeightsReader
from sdterm.messages import message

_AT_ONCE = 64  # layers whose weights are read together: of a file in another precision, copies


@dataclass(frozen=True)
class Network:
    """One that is on."""

    plan: NetworkPlan
    loaded: LoadedNetwork
    guard: Callable[[], AbstractContextManager[None]] = nullcontext
    """Around its format's code, for RuntimeError to pass."""


@dataclass(frozen=True)
class AppliedNetworks:
    """What is on a model, in its order."""

    networks: tuple[Network, ...] = ()
    layers: frozenset[str] = frozenset()
    """Whose weights are not the file's."""
    hooks: tuple[Callable[[], None], ...] = ()
    """Taking off each change of what a layer reads."""
    words: Mapping[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    """Learned words that fit the model's text encoders."""
    mismatches: Mapping[str, int] = field(default_factory=dict)
    """A network's SHA-256 → how many of its layers, or words, do not fit the model."""

    @property
    def asked(self) -> tuple[NetworkPlan, ...]:
        return tuple(network.plan for network in self.networks)


NO_NETWORKS = AppliedNetworks()


def change(
    model: Adaptable, reader: WeightsReader, before: AppliedNetworks, networks: Sequence[Network]
) -> AppliedNetworks:
    """The model with exactly these networks on. reader: the model's own file, from which changed weights are read
    again: so they are bit for bit what they were. Raises what reading raises: the model is then of no use."""
    for take_off in before.hooks:
        take_off()
    layers = model.layers
    touched = frozenset(name for network in networks for name in network.loaded.deltas)
    mismatches = {network.plan.sha256: network.loaded.unused for network in networks}
    words: dict[str, tuple[torch.Tensor, ...]] = {}
    for network in networks:
        fit = {w: v for w, v in network.loaded.words.items() if tuple(e.shape[1] for e in v) == model.text_widths}
        mismatches[network.plan.sha256] += len(network.loaded.words) - len(fit)
        words |= fit
    rest = iter(sorted(before.layers | touched))
    while names := list(islice(rest, _AT_ONCE)):
        originals = _read_again([layers[name] for name in names], reader, model)
        for name in names:
            for network in _apply(layers[name], name, originals, networks):
                mismatches[network.plan.sha256] += 1
    return AppliedNetworks(tuple(networks), touched, tuple(_hooks(layers, networks)), words, mismatches)


def mismatch(network: Network, applied: AppliedNetworks) -> str:
    """A sentence on what of a network does nothing here; empty if all of it acts."""
    count, name = applied.mismatches[network.plan.sha256], printable(network.plan.name, 60)
    whole = count + len(network.loaded.deltas) + len(network.loaded.inputs)
    if not count:
        return ""
    if network.plan.role == "embedding":
        return message(
            "The embedding {name} is made for another kind of model, so its name is read as a word.", name=name
        )
    if not network.loaded.deltas and not network.loaded.inputs:
        return message("The network {name} is made for another kind of model and has no effect.", name=name)
    return message(
        "{count} of the {whole} layers in the network {name} do not fit this model and are ignored.",
        count=count,
        whole=whole,
        name=name,
    )


def _read_again(layers: Sequence[Layer], reader: WeightsReader, model: Adaptable) -> dict[str, torch.Tensor]:
    """Key → tensor as the file has it, on the device that computes, in the precision that the model has it in; those
    that it only stores more coarsely in its own."""
    keys: dict[torch.dtype, dict[str, None]] = {}
    for layer in layers:
        for name, origin in layer.origins.items():
            dtype = getattr(layer.module, name).dtype
            keys.setdefault(dtype if dtype.itemsize > 1 else model.dtype, {})[origin.key] = None
    read = (reader.read(list(own), model.device, dtype) for dtype, own in keys.items())
    return {key: tensor for tensors in read for key, tensor in tensors.items()}


def _apply(
    layer: Layer, name: str, originals: Mapping[str, torch.Tensor], networks: Sequence[Network]
) -> list[Network]:
    """Give a layer its weights with the networks' deltas. Those that do not fit are returned. Source: A1111
    networks.network_apply_weights."""
    own: dict[str, torch.Tensor] = {}
    for tensor, origin in layer.origins.items():
        read = originals[origin.key]
        own[tensor] = (origin.shaped(read) if origin.shaped else read).reshape(getattr(layer.module, tensor).shape)
    weight, bias = own["weight"], own.get("bias")
    mismatches = []
    for network in networks:
        if (delta := network.loaded.deltas.get(name)) is None:
            continue
        try:
            with network.guard():
                added, more = delta(weight, network.plan.strength.on(layer), network.plan.rank)
                weight = _sum(weight, added)
        except RuntimeError:  # how torch says that shapes do not fit
            mismatches.append(network)
            continue
        if more is not None:
            bias = more.to(weight.dtype) if bias is None else (bias + more).to(bias.dtype)
    _set(layer.module, "weight", weight)
    if bias is not None or "bias" in layer.module._parameters:
        _set(layer.module, "bias", bias)
    return mismatches


def _sum(weight: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    changed = (weight.to(delta.dtype) + delta).to(weight.dtype)
    if changed.shape != weight.shape:
        raise RuntimeError
    return changed


def _set(module: torch.nn.Module, name: str, tensor: torch.Tensor | None) -> None:
    if tensor is not None:
        like = module._parameters.get(name)  # a bias that only a network brings lies where the weight does
        tensor = tensor.to(cast(torch.Tensor, module.weight) if like is None else like)
    setattr(module, name, None if tensor is None else torch.nn.Parameter(tensor, requires_grad=False))


def _hooks(layers: Mapping[str, Layer], networks: Sequence[Network]) -> Iterable[Callable[[], None]]:
    for network in networks:
        for name, changed in network.loaded.inputs.items():
            multiplier = network.plan.strength.on(layers[name])
            yield layers[name].module.register_forward_pre_hook(_reading(changed, multiplier)).remove


def _reading(
    changed: Callable[[torch.Tensor, float], torch.Tensor], multiplier: float
) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    return lambda module, given: (changed(given[0], multiplier), *given[1:])

"""A format of networks: a number for each layer, which becomes so much stronger, to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdterm.hooks import Adaptable, Delta, LoadedNetwork, NetworkFormat, WeightsReader, hookimpl

if TYPE_CHECKING:
    import torch

PREFIX = "my_extension."  # my_extension.unet.mid_block.attentions.0.proj_in: float32 []


def matches(reader: WeightsReader) -> bool:
    """Whether it is ours, from the keys and shapes alone."""
    return any(key.startswith(PREFIX) for key in reader.shapes())


def stronger(gain: torch.Tensor) -> Delta:
    def delta(weight: torch.Tensor, multiplier: float, rank: int | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is added to the layer's weight, and to its bias."""
        return weight * gain.to(weight.dtype) * multiplier, None

    return delta


def load(reader: WeightsReader, model: Adaptable) -> LoadedNetwork:
    names = {key: key.removeprefix(PREFIX) for key in reader.shapes()}
    tensors = reader.read(list(names), model.device, None)
    deltas = {name: stronger(tensors[key]) for key, name in names.items() if name in model.layers}
    return LoadedNetwork(deltas, unused=len(names) - len(deltas))


@hookimpl
def sdterm_networks() -> list[NetworkFormat]:
    return [NetworkFormat(id="my_extension", label="My extension", role="lora", matches=matches, load=load)]

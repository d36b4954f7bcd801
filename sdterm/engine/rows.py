"""Conditionings, handled without knowing what they mean: rows taken out, lengthened, joined."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from sdterm.hooks import Conditioning


def row(cond: Conditioning, index: int) -> Conditioning:
    """One row, as a batch of one."""
    return replace(cond, tensors={name: tensor[index : index + 1] for name, tensor in cond.tensors.items()})


def joined(rows: Sequence[Conditioning]) -> Conditioning:
    """Rows of equal shapes as one batch."""
    return replace(rows[0], tensors={name: torch.cat([each[name] for each in rows]) for name in rows[0].tensors})


def shape(cond: Conditioning) -> tuple[tuple[str, torch.Size], ...]:
    """What must be equal in rows that are joined."""
    return tuple((name, tensor.shape[1:]) for name, tensor in sorted(cond.tensors.items()))


def lengths(cond: Conditioning) -> dict[str, int]:
    """Of its sequences."""
    return {name: cond[name].shape[1] for name in cond.sequences}


def repeated(cond: Conditioning, wanted: Mapping[str, int], *, cut: bool = False) -> Conditioning:
    """Sequences lengthened by their last position. cut: those that are too long lose their end."""

    def fitted(tensor: torch.Tensor, length: int) -> torch.Tensor:
        more = max(0, length - tensor.shape[1])
        longer = torch.cat([tensor, tensor[:, -1:].expand(-1, more, *[-1] * (tensor.dim() - 2))], dim=1)
        return longer[:, :length] if cut else longer

    return _changed(cond, {name: fitted(cond[name], wanted[name]) for name in cond.sequences})


def padded(cond: Conditioning, wanted: Mapping[str, int], padding: Conditioning) -> Conditioning:
    """Sequences lengthened by whole copies of the padding's."""

    def fitted(name: str) -> torch.Tensor:
        times = max(0, wanted[name] - cond[name].shape[1]) // padding[name].shape[1]
        return torch.cat([cond[name], *[padding[name]] * times], dim=1)

    return _changed(cond, {name: fitted(name) for name in cond.sequences})


def size(cond: Conditioning) -> int:
    """In bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in cond.tensors.values())


def _changed(cond: Conditioning, tensors: Mapping[str, torch.Tensor]) -> Conditioning:
    return replace(cond, tensors={**cond.tensors, **tensors})

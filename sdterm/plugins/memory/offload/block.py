"""Weights that move together: a stretch of the computer's memory, from which the device copies them at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

_ALIGNED = 512
"""Bytes: where a device's memory is read best."""


class _Place(NamedTuple):
    """Where a weight lies in its block."""

    weight: torch.Tensor
    home: torch.Tensor
    begin: int
    end: int


class Block:
    """Some weights, which are at `home` unless they are brought elsewhere. device: what is to copy them; for a GPU home
    is page-locked, so that copying needs no CPU and nobody waits for it."""

    def __init__(self, weights: Iterable[torch.Tensor], device: torch.device) -> None:
        weights = list({id(weight): weight for weight in weights}.values())
        ends: list[int] = []
        for weight in weights:
            ends.append(_aligned(ends[-1] if ends else 0) + weight.nbytes)
        self.size = _aligned(ends[-1] if ends else 0)
        self._memory = _memory(self.size, device)
        self._places = [*self._placed(weights, ends)]
        self._brought: tuple[torch.Tensor, list[torch.Tensor]] | None = None
        self.rest()

    def _placed(self, weights: Iterable[torch.Tensor], ends: Iterable[int]) -> Iterator[_Place]:
        for weight, end in zip(weights, ends, strict=True):
            begin = end - weight.nbytes
            strides = torch.empty_like(weight, device="meta").stride()  # those of an expanded one would overlap
            home = _view(self._memory[begin:end], weight, strides)
            home.copy_(weight.data)
            yield _Place(weight, home, begin, end)

    @property
    def is_home(self) -> bool:
        return _same(self._places[0].weight.data, self._places[0].home)

    def copy_to(self, memory: torch.Tensor) -> None:
        """Begin to copy all of it; memory: `size` bytes of the device."""
        memory.copy_(self._memory, non_blocking=True)

    def use(self, memory: torch.Tensor) -> None:
        """Compute with what was copied there. What somebody else put in a weight's place stays, on that device."""
        if self._brought is None or self._brought[0] is not memory:
            views = [_view(memory[begin:end], home, home.stride()) for _, home, begin, end in self._places]
            self._brought = (memory, views)
        for (weight, home, _, _), view in zip(self._places, self._brought[1], strict=True):
            weight.data = view if _same(weight.data, home) else weight.data.to(memory.device)

    def rest(self) -> None:
        """Be at home again."""
        for weight, home, _, _ in self._places:
            weight.data = home

    def forget(self) -> None:
        """Let go of the memory where it was used last."""
        self._brought = None


def bytes_of(module: torch.nn.Module) -> int:
    return sum(weight.nbytes for weight in weights_of(module))


def weights_of(module: torch.nn.Module, *, recurse: bool = True) -> Iterator[torch.Tensor]:
    """Its parameters and buffers."""
    yield from module.parameters(recurse)
    yield from module.buffers(recurse)


def _aligned(at: int) -> int:
    return math.ceil(at / _ALIGNED) * _ALIGNED


def _memory(size: int, device: torch.device) -> torch.Tensor:
    if device.type == "cpu":
        return torch.empty(size, dtype=torch.uint8)
    try:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    except RuntimeError:  # systems limit how much may be locked; unlocked memory is copied more slowly
        return torch.empty(size, dtype=torch.uint8)


def _view(memory: torch.Tensor, like: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    """Bytes as a tensor of that type and shape."""
    return memory.view(like.dtype).as_strided(like.shape, strides)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.dtype == other.dtype

"""Weights that move together: a stretch of the computer's memory, from which the device copies them at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

_ALIGNED = 512
"""Bytes: where a device's memory is read best."""
_ARENA = 256 * 2**20
"""Bytes that are page-locked at once: torch rounds them up to a power of two, which is much for single blocks."""


class _Place(NamedTuple):
    """Where a weight lies in its block."""

    weight: torch.Tensor
    home: torch.Tensor
    begin: int
    end: int


class Block:
    """Some weights, which are at home in that memory unless they are brought elsewhere."""

    def __init__(self, weights: Sequence[torch.Tensor], memory: torch.Tensor) -> None:
        self.size, self._memory = memory.numel(), memory
        self._places = [*self._placed(weights, _ends(weights))]
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


def blocks_at_home(groups: Iterable[Iterable[torch.Tensor]], device: torch.device) -> Iterator[Block]:
    """A block of each group of weights. device: what is to copy them; for a GPU their home is page-locked, so that
    copying needs no CPU and nobody waits for it."""
    apart = [list({id(weight): weight for weight in group}.values()) for group in groups]
    sizes = [_aligned(_ends(weights)[-1]) if weights else 0 for weights in apart]
    arena, used, rest = _memory(0, device), 0, sum(sizes)
    for weights, size in zip(apart, sizes, strict=True):
        if used + size > arena.numel():
            arena, used = _memory(max(size, min(_ARENA, rest)), device), 0
        yield Block(weights, arena[used : used + size])
        used, rest = used + size, rest - size


def _ends(weights: Iterable[torch.Tensor]) -> list[int]:
    """Where each of them ends, lying one behind the other."""
    ends: list[int] = []
    for weight in weights:
        ends.append(_aligned(ends[-1] if ends else 0) + weight.nbytes)
    return ends


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

"""A stretch of a device's memory that blocks pass through, one behind the other and from its end to its begin again.

No call waits: each copy waits, on the device, for what was computed with the weights that lay there before, and each
computation for its copy. So a GPU copies while it computes, and the CPU runs ahead of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sdterm.plugins.memory.offload.block import Block


@dataclass
class _Held:
    """A block in the ring."""

    block: Block
    begin: int
    end: int
    copied: Any = None
    """The event after which it is there."""
    used: Any = None
    """The event after which nothing computes with it any more; None: it is still wanted."""
    is_free: bool = False
    """Whether it may make way."""


def backend_of(device: torch.device) -> Any:
    """torch's module for streams of a device; None for one that has none."""
    return None if device.type == "cpu" else torch.get_device_module(device)


class Ring:
    """size: of its memory, at least that of the largest block. It takes that memory when the first block comes."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._size, self._device = size, device
        self._held: list[_Held] = []
        self._at = 0
        self._memory: torch.Tensor | None = None
        self._slices: dict[tuple[int, int], torch.Tensor] = {}
        self._backend = backend_of(device)
        self._copying: Any = self._backend.Stream(device) if self._backend else None

    def bring(self, block: Block, *, room: bool = False) -> bool:
        """Begin to copy a block, unless it is there. room: what is there and not in use makes way, if need be. Returns
        False if there is no room for it."""
        if self._find(block):
            return True
        begin = self._at if self._at + block.size <= self._size else 0
        end = begin + block.size
        inside = [held for held in self._held if held.begin < end and begin < held.end]
        if not all(held.is_free or room for held in inside):
            return False
        self._held = [held for held in self._held if held not in inside]
        self._at = end
        held = _Held(block, begin, end)
        self._copy(held, [event for each in inside for event in (each.used, each.copied) if event])
        self._held.append(held)
        return True

    def use(self, block: Block) -> None:
        """Let the weights of a block that was brought be those in the ring, for what is computed from now on."""
        held = self._find(block)
        assert held  # it was brought
        if held.copied:
            self._current().wait_event(held.copied)
        block.use(self._slice(held))

    def release(self, block: Block) -> None:
        """Nothing more is computed with it, so it may make way."""
        block.rest()
        if held := self._find(block):
            held.used, held.is_free = self._current().record_event() if self._backend else None, True

    def release_all(self) -> None:
        """As after a network that was left half way."""
        for held in [*self._held]:
            if not held.is_free:
                self.release(held.block)

    def drop(self) -> None:
        """Give the memory back."""
        for held in self._held:
            held.block.rest()
            held.block.forget()
            if held.copied:
                self._current().wait_event(held.copied)  # or a copy would go on into what is somebody else's by then
        self._held, self._at, self._memory = [], 0, None
        self._slices.clear()

    def _find(self, block: Block) -> _Held | None:
        return next((held for held in self._held if held.block is block and not held.is_free), None)

    def _copy(self, held: _Held, after: list[Any]) -> None:
        memory = self._slice(held)
        if not self._backend:
            held.block.copy_to(memory)
            return
        for event in after:
            self._copying.wait_event(event)
        with self._backend.stream(self._copying):
            held.block.copy_to(memory)
            held.copied = self._copying.record_event()

    def _slice(self, held: _Held) -> torch.Tensor:
        """The ring's memory for a block: of the same place always the same tensor."""
        if self._memory is None:
            self._memory = torch.empty(self._size, dtype=torch.uint8, device=self._device)
            if self._backend:  # what was computed in that memory before has an end
                self._copying.wait_event(self._current().record_event())
        place = (held.begin, held.end)
        if place not in self._slices:
            self._slices[place] = self._memory[held.begin : held.end]
        return self._slices[place]

    def _current(self) -> Any:
        return self._backend.current_stream(self._device)

"""A part whose blocks come to the device one after the other, the next ones while it computes with the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from sdterm.plugins.memory.offload.block import Block, blocks_at_home, bytes_of, weights_of
from sdterm.plugins.memory.offload.ring import Ring

LARGEST, LEAST = 96 * 2**20, 2**20
"""Bytes of a block, unless a single layer has more; what has less, like a norm, stays on the device with its part."""
AHEAD = 320 * 2**20
"""Bytes of the device's memory that blocks pass through. Copying and computing take turns at being the slower one; more
memory evens them out."""


class Streamed:
    """A part in blocks. The first time it is used it learns their order; from then on the next ones are brought ahead,
    as many as have room."""

    def __init__(
        self,
        module: torch.nn.Module,
        device: torch.device,
        largest: int = LARGEST,
        ahead: int = AHEAD,
        least: int = LEAST,
    ) -> None:
        leaders = [leader for leader in blocks_of(module, largest) if bytes_of(leader) >= least]
        blocks = [*blocks_at_home(map(weights_of, leaders), device)]
        moved = {id(weight) for leader in leaders for weight in weights_of(leader)}
        rest = [weight for weight in weights_of(module) if id(weight) not in moved]
        self._rest = next(blocks_at_home([rest], device)) if rest else None
        self._ring = Ring(max(ahead, 2 * max((block.size for block in blocks), default=0)), device)
        self._device, self._is_in = device, False
        self._order: list[Block] = []  # of the last time that the whole was called
        self._called: list[Block] = []
        self.handles = [
            module.register_forward_pre_hook(self._begin, prepend=True),
            module.register_forward_hook(self._end),
        ]
        for leader, block in zip(leaders, blocks, strict=True):
            self.handles += self._hooks(leader, block)

    def enter(self) -> None:
        if self._rest and not self._is_in:
            memory = torch.empty(self._rest.size, dtype=torch.uint8, device=self._device)
            self._rest.copy_to(memory)
            self._rest.use(memory)
        self._is_in = True

    def leave(self) -> None:
        self._ring.drop()
        if self._rest:
            self._rest.rest()
            self._rest.forget()
        self._is_in = False

    def _hooks(self, leader: torch.nn.Module, block: Block) -> Iterator[Any]:
        def before(*_: object) -> None:
            self._called.append(block)
            self._ring.bring(block, room=True)
            self._ring.use(block)
            self._look_ahead()

        def after(*_: object) -> None:
            self._ring.release(block)

        yield leader.register_forward_pre_hook(before, prepend=True)
        yield leader.register_forward_hook(after)

    def _begin(self, *_: object) -> None:
        """The whole is called. If it was left half way the last time, that is over."""
        if self._called:
            self._called = []
            self._ring.release_all()

    def _end(self, *_: object) -> None:
        self._order, self._called = self._called, []

    def _look_ahead(self) -> None:
        """Bring what comes next, and after the last one the first ones again."""
        done, order = len(self._called), self._order
        if done > len(order) or order[done - 1] is not self._called[-1]:
            return
        for block in (*order[done:], *order[: done - 1]):
            if not self._ring.bring(block):
                return


def blocks_of(module: torch.nn.Module, largest: int) -> Iterator[torch.nn.Module]:
    """The largest modules within that have at most so many bytes and are called as a whole; of more only a layer."""
    children = [*module.children()]
    is_called = type(module).forward is not torch.nn.Module.forward  # a list of modules is not
    if (bytes_of(module) <= largest and is_called) or not children:
        if bytes_of(module):
            yield module
        return
    for child in children:
        yield from blocks_of(child, largest)

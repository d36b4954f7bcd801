"""A model's parts, of which one at a time is on the device: text encoders, then the UNet, then the VAE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch

from sdterm.plugins.memory.offload.block import blocks_at_home, weights_of

_AT_ONCE = 64 * 2**20
"""Bytes that are copied at once."""


class Part(Protocol):
    """A part of a model, which is either on the device or at home."""

    def enter(self) -> None:
        """It is about to be used. Called often: it may be there."""
        ...

    def leave(self) -> None:
        """Another one is about to be used."""
        ...

    @property
    def handles(self) -> Sequence[Any]:
        """Of its own hooks on its module."""
        ...


class Whole:
    """A part that comes and goes as a whole, and stays as long as no other one is used."""

    handles: Sequence[Any] = ()

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self._device, self._is_in = device, False
        self._blocks = [*blocks_at_home(_stretches(module), device)]

    def enter(self) -> None:
        if not self._blocks or (self._is_in and not self._blocks[0].is_home):  # others may put weights back there
            return
        for block in self._blocks:
            memory = torch.empty(block.size, dtype=torch.uint8, device=self._device)
            block.copy_to(memory)  # on the stream that computes, so what is computed next comes after it
            block.use(memory)
        self._is_in = True

    def leave(self) -> None:
        for block in self._blocks:
            block.rest()
            block.forget()
        self._is_in = False


class Staying:
    """A part that is on the device for good."""

    handles: Sequence[Any] = ()

    def enter(self) -> None:
        pass

    def leave(self) -> None:
        pass


def _stretches(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """All its weights, in lists of neighbours."""
    some: list[torch.Tensor] = []
    for weight in weights_of(module):
        if some and sum(each.nbytes for each in some) + weight.nbytes > _AT_ONCE:
            yield some
            some = []
        some.append(weight)
    if some:
        yield some


class TakingTurns:
    """Lets each module come to the device when it is used, and the one before it leave. A module is used when it or one
    of its children is called: nobody calls a VAE itself. It keeps no module, or it would keep the model in memory."""

    def __init__(self, modules: Iterable[torch.nn.Module], part_of: Callable[[torch.nn.Module], Part]) -> None:
        self._inside: Part | None = None
        self._parts: list[Part] = []
        self._handles: list[Any] = []
        for module in modules:
            part = part_of(module)
            self._parts.append(part)
            for called in (module, *module.children()):
                self._handles.append(called.register_forward_pre_hook(self._uses(part), prepend=True))

    def end(self) -> None:
        """All weights are at home, and stay there."""
        for handle in (*self._handles, *(handle for part in self._parts for handle in part.handles)):
            handle.remove()
        for part in self._parts:
            part.leave()

    def _uses(self, part: Part) -> Callable[..., None]:
        def used(*_: object) -> None:
            if self._inside is not part and self._inside is not None:
                self._inside.leave()
            self._inside = part
            part.enter()

        return used

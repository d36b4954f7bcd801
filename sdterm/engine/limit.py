"""A limit on memory: what happens when it runs out can be seen on any machine, by `--limit-memory`."""

import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdterm.core.settings.amounts import bytes_of, said
from sdterm.messages import message


@dataclass
class Limit:
    """How much of a device's memory may be used.

    A GPU's allocator holds it by itself, for the whole process. On a CPU torch has no such limit: there the bytes of
    all live tensors are counted, operation by operation; what an operation needs within itself is not.
    """

    bytes: int | None = None
    """None: all there is."""
    counted: "CountedTensors | None" = None

    @classmethod
    def of(cls, device: torch.device, amount: str | None) -> "Limit":
        if not amount:
            return cls()
        limit = bytes_of(amount)
        if device.type == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
        elif device.type == "mps":
            torch.mps.set_per_process_memory_fraction(min(2.0, limit / torch.mps.recommended_max_memory()))
        return cls(limit, CountedTensors(limit) if device.type == "cpu" else None)

    @property
    def held(self) -> AbstractContextManager[Any]:
        """What the engine's thread works in."""
        return self.counted or nullcontext()


class CountedTensors(TorchDispatchMode):
    """Counts the bytes of the live tensors that operations are given and make, and raises torch.OutOfMemoryError where
    they are more than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._limit = limit
        self._refs: dict[int, weakref.ref[Any]] = {}  # of storages, by where they are
        self._freed: deque[int] = deque()  # bytes; storages end in any thread, at any moment
        self._live = 0
        self.peak = 0
        """Bytes."""

    @property
    def live(self) -> int:
        """Bytes."""
        while self._freed:
            self._live -= self._freed.popleft()
        return self._live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._see(args)
        self._see(kwargs.values())
        before = self.live
        made = func(*args, **kwargs)
        self._see((made,))
        live = self.live
        if live > self._limit and live > before:  # who needs nothing more may go on
            raise torch.OutOfMemoryError(
                message(
                    "the tensors need {used}, and --limit-memory is {limit}", used=said(live), limit=said(self._limit)
                )
            )
        self.peak = max(self.peak, live)
        return made

    def _see(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, torch.Tensor):
                if value.device.type == "cpu" and value.layout == torch.strided:
                    self._count(value.untyped_storage())
            elif isinstance(value, list | tuple):
                self._see(value)

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._refs or not size:
            return

        def ended(_: object) -> None:
            self._refs.pop(key, None)
            self._freed.append(size)

        self._refs[key] = weakref.ref(storage, ended)
        self._live += size

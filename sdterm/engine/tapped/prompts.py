"""Prompts that a pipeline has encoded, remembered: the images of a batch, and a job that is drawn again with another
seed, are encoded once."""

import functools
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sdterm.engine.tapped.tree import Tree, UnknownValueError, put_together, taken_apart

_KEPT = 64 * 2**20  # bytes of embeddings, on the device


@dataclass(frozen=True)
class _Encoded:
    tree: Tree
    tensors: list[torch.Tensor]
    versions: list[int]

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has written into what was given out."""
        return [tensor._version for tensor in self.tensors] == self.versions


class Prompts:
    """What stands in for a pipeline's `encode_prompt`. Calls with pictures or embeddings pass through."""

    def __init__(self) -> None:
        self.state: object = None
        """Whatever else embeddings depend on: of another one none are remembered."""
        self._encoded: OrderedDict[str, _Encoded] = OrderedDict()
        self._of: object = None

    def remembering(self, encode: Callable[..., Any], whose: str) -> Callable[..., Any]:
        """The same function, which calls `encode` for what is new. whose: the pipeline's class."""

        @functools.wraps(encode)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            try:
                key = json.dumps(taken_apart([whose, list(args), kwargs], _no_tensor), sort_keys=True)
            except UnknownValueError:
                return encode(*args, **kwargs)
            if self._of != self.state:
                self._of = self.state
                self._encoded.clear()
            if (known := self._encoded.get(key)) and known.is_untouched:
                self._encoded.move_to_end(key)
                return put_together(known.tree, known.tensors)
            gave = encode(*args, **kwargs)
            self._keep(key, gave)
            return gave

        return remembered

    def _keep(self, key: str, gave: Any) -> None:
        tensors: list[torch.Tensor] = []

        def numbered(tensor: torch.Tensor) -> int:
            if tensor.is_inference():
                raise UnknownValueError(tensor)
            tensors.append(tensor)
            return len(tensors) - 1

        try:
            tree = taken_apart(gave, numbered)
        except UnknownValueError:
            return
        self._encoded[key] = _Encoded(tree, tensors, [tensor._version for tensor in tensors])
        while len(self._encoded) > 1 and sum(map(_bytes, self._encoded.values())) > _KEPT:
            self._encoded.popitem(last=False)


def _bytes(encoded: _Encoded) -> int:
    return sum(tensor.nbytes for tensor in encoded.tensors)


def _no_tensor(tensor: torch.Tensor) -> None:
    raise UnknownValueError(tensor)

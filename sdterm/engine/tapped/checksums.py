"""What a module is called with, as the tape knows it again: a checksum for each argument.

Embeddings are most of it and the same in each call: a tensor that was seen before, at the same version, is not read
again. So nobody may write to one behind torch's back, and calls are made outside of inference mode, in which tensors
have no version.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sdterm.engine.tape import checksum
from sdterm.engine.tapped.tree import Tree, taken_apart

_REMEMBERED = 8
"""So many calls back. With guidance there are two or three to a step, each with its own embeddings."""


class _Leaf:
    """A tensor as it was when it was seen."""

    def __init__(self, seen: torch.Tensor) -> None:
        self._copy: torch.Tensor | None = seen.detach().clone()  # the pipeline may write to it before it is read
        self._kind = f"{seen.dtype} {tuple(seen.shape)}"
        self._said = ""

    def checksum(self) -> str:
        """Read when it is first wanted, which waits for the device; then the copy is let go of."""
        if self._copy is not None:
            self._said, self._copy = f"{self._kind} {checksum(self._copy)}", None
        return self._said


@dataclass
class _Known:
    tensor: torch.Tensor  # held, so that its id stays its own
    version: int
    leaf: _Leaf
    last: int
    """The call that saw it last."""


@dataclass(frozen=True)
class Given:
    """The arguments of one call."""

    trees: Mapping[str, Tree]

    def checksums(self) -> str:
        """`name:checksum` of each. It reads tensors, which waits for the device."""
        return " ".join(f"{name}:{_digest(tree)}" for name, tree in self.trees.items())


class Arguments:
    """Looks at the calls of one module."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._signature = inspect.signature(forward)
        self._known: dict[int, _Known] = {}
        self._calls = 0

    def given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
        """What a call is made with, to be read by any thread. Raises UnknownValueError."""
        self._calls += 1
        named = self._signature.bind(*args, **kwargs).arguments
        trees = {name: taken_apart(value, self._leaf) for name, value in named.items()}
        self._known = {of: each for of, each in self._known.items() if self._calls - each.last < _REMEMBERED}
        return Given(trees)

    def _leaf(self, tensor: torch.Tensor) -> _Leaf:
        if tensor.is_inference():
            return _Leaf(tensor)
        known = self._known.get(id(tensor))
        if not known or known.tensor is not tensor or known.version != tensor._version:
            known = self._known[id(tensor)] = _Known(tensor, tensor._version, _Leaf(tensor), 0)
        known.last = self._calls
        return known.leaf


def differing(before: str, now: str) -> list[str]:
    """The arguments whose checksums are not what they were."""
    there, here = (dict(each.split(":") for each in said.split()) for said in (before, now))
    return [name for name in {**there, **here} if there.get(name) != here.get(name)]


def _digest(tree: Tree) -> str:
    said = json.dumps(tree, default=_Leaf.checksum, sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

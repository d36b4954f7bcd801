"""Nested values with tensors in them, taken apart and put together again.

What is left of a value without its tensors is a tree, as JSON: a tensor is its number, a tuple `{"tuple": [...]}`, an
output of diffusers its class and its fields.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch

from sdterm.messages import message

Tree = Any
_PLAIN = (bool, int, float, str)
_NAMED = (torch.dtype, torch.device)


class UnknownValueError(Exception):
    """There is something in it that is no value: an object with a state, a function."""

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__
        super().__init__(message("a {type}", type=self.kind))


def taken_apart(value: Any, tensor: Callable[[torch.Tensor], Any]) -> Tree:
    """A value's tree, in which `tensor` says what stands for each tensor. Raises UnknownValueError."""
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if value is None:
        return None
    if isinstance(value, _PLAIN):
        return {"value": value}
    if isinstance(value, _NAMED):
        return {"named": str(value)}
    if _is_output(value):
        kind = type(value)
        fields = {name: taken_apart(each, tensor) for name, each in value.items()}
        return {"output": [kind.__module__, kind.__qualname__], "fields": fields}
    if type(value) in (list, tuple):
        return {type(value).__name__: [taken_apart(each, tensor) for each in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: taken_apart(each, tensor) for key, each in value.items()}}
    raise UnknownValueError(value)


def _is_output(value: Any) -> bool:
    """Whether it is an output of diffusers, which is imported where there can be one."""
    known = sys.modules.get("diffusers.utils.outputs")
    return known is not None and isinstance(value, known.BaseOutput)


def put_together(tree: Tree, tensors: Sequence[torch.Tensor]) -> Any:
    """The value of a tree whose tensors are numbered."""
    match tree:
        case None:
            return None
        case int():
            return tensors[tree]
        case {"value": value}:
            return value
        case {"named": name}:
            return torch.device(name) if "torch." not in name else getattr(torch, name.removeprefix("torch."))
        case {"output": [module, name], "fields": fields}:
            kind = getattr(import_module(module), name)
            return kind(**{name: put_together(each, tensors) for name, each in fields.items()})
        case {"list": items}:
            return [put_together(each, tensors) for each in items]
        case {"tuple": items}:
            return tuple(put_together(each, tensors) for each in items)
        case {"dict": items}:
            return {key: put_together(each, tensors) for key, each in items.items()}
    raise ValueError(f"{tree!r} is no tree")

"""What the header of a model file says of its tensors: type, shape, and where their bytes lie in the file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdterm.core.files import legible
from sdterm.core.text import printable
from sdterm.errors import SdtermError
from sdterm.messages import message

BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Types of numbers, by safetensors' names."""
MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 16
_MOST_NAME = 500  # characters


class ModelFileError(SdtermError, ValueError):
    """A model file cannot be used; the message says which and why."""

    code = "bad_model"

    def __init__(self, message: str) -> None:
        super().__init__(legible(message))


class UnsoundError(Exception):
    """Why a file's header is refused: the sentence after the file's name."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes of the file. crc: its CRC-32, where the file tells one."""

    at: int
    size: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor that has not been read. offset, strides: in numbers, not bytes; no strides: one row after the other."""

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset: int = 0
    strides: tuple[int, ...] | None = None

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    content: the whole nested value, with `TensorRecord`s in it.
    """

    tensors: Mapping[str, TensorRecord]
    metadata: Mapping[str, str]
    content: Any


def checked_name(name: object) -> str:
    """A tensor's name, as it may be shown and looked up. Raises UnsoundError."""
    text = str(name)
    if not text or len(text) > _MOST_NAME or printable(text, _MOST_NAME) != text:
        raise UnsoundError(message("has a tensor with the invalid name {name}.", name=printable(repr(text), 60)))
    return text


def checked_shape(shape: object) -> tuple[int, ...]:
    """Raises UnsoundError."""
    if not isinstance(shape, list | tuple) or len(shape) > _MOST_DIMENSIONS:
        raise UnsoundError(message("has a tensor without a valid shape."))
    if not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise UnsoundError(message("has a tensor with an impossible shape."))
    return tuple(shape)

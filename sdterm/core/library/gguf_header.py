"""The header of a GGUF file: keys and values, then tensors, many of them packed by the block. Nothing is unpacked here.

Numbers are little-endian, and a shape stands the wrong way round: its fastest side first.
"""

import math
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO

from sdterm.core.library.tensors import (
    MOST_TENSORS,
    Header,
    Storage,
    TensorRecord,
    UnsoundError,
    checked_name,
    checked_shape,
)
from sdterm.messages import message

MAGIC = b"GGUF"
_MOST_HEADER = 100_000_000  # bytes
_MOST_VALUES = 100_000
_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
}  # fmt: skip
"""A type's number → its name, how many numbers are packed together, and into how many bytes."""
_SIZES: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_TEXT, _LIST = 8, 9
_ALIGNMENT = "general.alignment"


def gguf_header(file: BinaryIO, size: int) -> Header:
    """The header of a file of that many bytes. Raises UnsoundError, OSError."""
    try:
        return _Reader(file, size).header()
    except UnsoundError as error:
        raise UnsoundError(
            message(
                "is not a valid .gguf file: it {problem} It may be an incomplete download: download it again.",
                problem=error,
            )
        ) from error


class _Reader:
    """Reads one value after the other. Raises UnsoundError where there is none any more."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        file.seek(0)
        self._file, self._size = file, size

    def header(self) -> Header:
        if self._bytes(4) != MAGIC or self._number("<I") not in (2, 3):
            raise UnsoundError(message("has a version that sdterm does not support."))
        tensors, values = self._number("<Q"), self._number("<Q")
        if tensors > MOST_TENSORS or values > _MOST_VALUES:
            raise UnsoundError(message("lists {tensors} tensors and {values} values.", tensors=tensors, values=values))
        said = {}
        for _ in range(values):
            key = self._text()
            said[key] = self._value(self._number("<I"))
        found = [self._tensor() for _ in range(tensors)]
        alignment = said.get(_ALIGNMENT, 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20:
            raise UnsoundError(message("gives its tensors an alignment of 0."))
        start = math.ceil(self._file.tell() / alignment) * alignment
        placed = {name: self._placed(record, start) for name, record in found}
        if len(placed) != len(found):
            raise UnsoundError(message("has two tensors of the same name."))
        metadata = {key: value for key, value in said.items() if isinstance(value, str)}
        return Header(MappingProxyType(placed), MappingProxyType(metadata), placed)

    def _tensor(self) -> tuple[str, TensorRecord]:
        """Its place counts from where tensors begin."""
        name = checked_name(self._text())
        sides = [self._number("<Q") for _ in range(min(self._number("<I"), 16))]
        kind, at = self._number("<I"), self._number("<Q")
        if kind not in _TYPES:
            raise UnsoundError(message("has a number type ({type}) that is not known.", type=kind))
        dtype, block, packed = _TYPES[kind]
        shape = checked_shape(sides[::-1])
        if (numbers := math.prod(shape)) % block:
            raise UnsoundError(message("has a tensor that ends inside a block."))
        return name, TensorRecord(dtype, shape, Storage(at, numbers // block * packed))

    def _placed(self, record: TensorRecord, start: int) -> TensorRecord:
        storage = Storage(start + record.storage.at, record.storage.size)
        if storage.at + storage.size > self._size:
            raise UnsoundError(
                message("has {size} bytes instead of {wanted}.", size=self._size, wanted=storage.at + storage.size)
            )
        return TensorRecord(record.dtype, record.shape, storage)

    def _value(self, kind: int) -> object:
        if kind == _TEXT:
            return self._text()
        if kind != _LIST:
            return self._number(self._form(kind))
        inner, length = self._number("<I"), self._number("<Q")
        if inner == _TEXT:
            for _ in range(min(length, _MOST_HEADER)):
                self._text()
        else:
            self._bytes(length * struct.calcsize(self._form(inner)))
        return None  # a vocabulary, which nobody asks for

    def _form(self, kind: int) -> str:
        if kind not in _SIZES:
            raise UnsoundError(message("has a value of a type that is not known."))
        return _SIZES[kind]

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return number  # type: ignore[no-any-return]  # or a fraction, which nobody asks for

    def _text(self) -> str:
        return self._bytes(self._number("<Q")).decode("utf-8", "replace")

    def _bytes(self, count: int) -> bytes:
        if self._file.tell() + count > min(self._size, _MOST_HEADER):
            raise UnsoundError(message("ends inside its header."))
        return self._file.read(count)

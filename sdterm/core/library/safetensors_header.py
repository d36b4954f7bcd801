"""The header of a safetensors file, checked before anything in it is believed: 8 bytes of length, JSON, then tensors
without a gap.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

from sdterm.core.library.tensors import (
    BITS,
    MOST_TENSORS,
    Header,
    Storage,
    TensorRecord,
    UnsoundError,
    checked_name,
    checked_shape,
)
from sdterm.core.text import printable
from sdterm.messages import message

_MOST_HEADER = 100_000_000  # bytes; the format's own limit
_METADATA = "__metadata__"


def safetensors_header(file: BinaryIO, size: int) -> Header:
    """The header of a file of that many bytes. Raises UnsoundError, OSError."""
    try:
        return _header(file, size)
    except UnsoundError as error:
        raise UnsoundError(
            message(
                "is not a valid .safetensors file: it {problem} It may be an incomplete download: download it again.",
                problem=error,
            )
        ) from error


def _header(file: BinaryIO, size: int) -> Header:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise UnsoundError(message("is shorter than its own header."))
    if length > _MOST_HEADER:
        raise UnsoundError(message("claims a header of {length} bytes.", length=length))
    listed = _parsed(file.read(length))
    metadata = listed.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UnsoundError(message("has metadata that is not text."))
    if len(listed) > MOST_TENSORS:
        raise UnsoundError(message("lists {number} tensors.", number=len(listed)))
    tensors = MappingProxyType({checked_name(name): _record(name, entry, 8 + length) for name, entry in listed.items()})
    _check_places(tensors, 8 + length, size)
    return Header(tensors, MappingProxyType(metadata), tensors)


def _parsed(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise UnsoundError(message("does not begin with a header."))
    try:
        listed = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnsoundError(message("has a header that is not JSON.")) from error
    assert isinstance(listed, dict)  # it begins with a brace
    return listed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UnsoundError(message("has two tensors named {name}.", name=printable(repr(twice), 60)))
    return found


def _record(name: str, entry: object, start: int) -> TensorRecord:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)], **more} if not more:
            pass
        case _:
            raise UnsoundError(message("has no type, shape or position for {name}.", name=printable(repr(name), 60)))
    if dtype not in BITS:
        raise UnsoundError(message("has a number type {type} that is not known.", type=printable(repr(dtype), 60)))
    record = TensorRecord(dtype, checked_shape(shape), Storage(start + begin, end - begin))
    if begin < 0 or record.numbers * BITS[dtype] != (end - begin) * 8:
        raise UnsoundError(
            message("has the wrong number of bytes for the shape of {name}.", name=printable(repr(name), 60))
        )
    return record


def _check_places(tensors: Mapping[str, TensorRecord], start: int, size: int) -> None:
    """Each begins where the one before it ends, and the last one ends with the file."""
    at = start
    for place in sorted(_places(tensors)):
        if place[0] != at:
            raise UnsoundError(
                message("has a gap between its tensors.") if place[0] > at else message("has tensors that overlap.")
            )
        at += place[1]
    if at > size:
        raise UnsoundError(message("has {size} bytes instead of {wanted}.", size=size, wanted=at))
    if at < size:
        raise UnsoundError(message("has {number} bytes more than its tensors need.", number=size - at))


def _places(tensors: Mapping[str, TensorRecord]) -> Iterable[tuple[int, int]]:
    return ((record.storage.at, record.storage.size) for record in tensors.values())

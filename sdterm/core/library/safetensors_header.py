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

_MOST_HEADER = 100_000_000  # bytes; the format's own limit
_METADATA = "__metadata__"


def safetensors_header(file: BinaryIO, size: int) -> Header:
    """The header of a file of that many bytes. Raises UnsoundError, OSError."""
    try:
        return _header(file, size)
    except UnsoundError as error:
        reason = str(error).rstrip(".")
        raise UnsoundError(
            f"is no sound .safetensors file (it {reason}). It may be an unfinished download: fetch it again."
        ) from error


def _header(file: BinaryIO, size: int) -> Header:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise UnsoundError("is shorter than its own header")
    if length > _MOST_HEADER:
        raise UnsoundError(f"claims a header of {length} bytes")
    listed = _parsed(file.read(length))
    metadata = listed.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UnsoundError("has metadata that are no texts")
    if len(listed) > MOST_TENSORS:
        raise UnsoundError(f"lists {len(listed)} tensors")
    tensors = MappingProxyType({checked_name(name): _record(name, entry, 8 + length) for name, entry in listed.items()})
    _check_places(tensors, 8 + length, size)
    return Header(tensors, MappingProxyType(metadata), tensors)


def _parsed(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise UnsoundError("does not begin with a header")
    try:
        listed = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnsoundError("has a header that is no JSON") from error
    assert isinstance(listed, dict)  # it begins with a brace
    return listed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UnsoundError(f"names {printable(repr(twice), 60)} twice")
    return found


def _record(name: str, entry: object, start: int) -> TensorRecord:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)], **more} if not more:
            pass
        case _:
            raise UnsoundError(f"has no type, shape and place for {printable(repr(name), 60)}")
    if dtype not in BITS:
        raise UnsoundError(f"has numbers of a type {printable(repr(dtype), 60)} that nobody knows")
    record = TensorRecord(dtype, checked_shape(shape), Storage(start + begin, end - begin))
    if begin < 0 or record.numbers * BITS[dtype] != (end - begin) * 8:
        raise UnsoundError(f"has another number of bytes for {printable(repr(name), 60)} than its shape needs")
    return record


def _check_places(tensors: Mapping[str, TensorRecord], start: int, size: int) -> None:
    """Each begins where the one before it ends, and the last one ends with the file."""
    at = start
    for place in sorted(_places(tensors)):
        if place[0] != at:
            raise UnsoundError("has a gap between its tensors" if place[0] > at else "has tensors that overlap")
        at += place[1]
    if at > size:
        raise UnsoundError(f"has {size} bytes of {at}")
    if at < size:
        raise UnsoundError(f"has {size - at} bytes more than its tensors need")


def _places(tensors: Mapping[str, TensorRecord]) -> Iterable[tuple[int, int]]:
    return ((record.storage.at, record.storage.size) for record in tensors.values())

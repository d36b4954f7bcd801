"""PyTorch's files (.ckpt, .pt, .pth, .bin): where their tensors lie, found without running what they hold.

A zip file with one pickle and a stored entry for each storage; or, before PyTorch 1.6, five pickles in a row and the
storages behind them.
"""

import math
import re
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, BinaryIO

from sdterm.core.library.pickles import MOST_BYTES, Name, StorageClaim, TensorClaim, read_pickle
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

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MOST_LISTING = 16 * 1024**2
_MOST_DEPTH = 32
_MOST_VALUES = 500_000
_MOST_VIEWS = 4
"""How many times over the tensors may be views of the same bytes."""
_NOTES = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")

Place = Callable[[StorageClaim], Storage]


def torch_header(file: BinaryIO, size: int) -> Header:
    """The header of a file of that many bytes. Raises UnsoundError, OSError."""
    file.seek(0)
    content = _zipped(file, size) if file.read(2) == b"PK" else _in_a_row(file, size)
    tensors: dict[str, TensorRecord] = {}
    weights = content.get("state_dict") if isinstance(content, dict) else None
    _flatten("", weights if isinstance(weights, dict) else content, tensors)
    if len(tensors) > MOST_TENSORS:
        raise UnsoundError(message("lists {number} tensors, more than any model has.", number=len(tensors)))
    if sum(record.numbers * BITS[record.dtype] // 8 for record in tensors.values()) > _MOST_VIEWS * size:
        raise UnsoundError(message("lists tensors that together are many times larger than the file."))
    return Header(tensors, _notes(content), content)


def _notes(content: Any) -> dict[str, str]:
    """What stands beside the tensors in plain words: a name, a number of steps."""
    notes = content.items() if isinstance(content, dict) else ()
    return {str(key): str(value) for key, value in notes if isinstance(value, str | int | float)}


def _flatten(name: str, value: Any, into: dict[str, TensorRecord]) -> None:
    """Tensors by their path in the nested value, joined by dots."""
    if isinstance(value, TensorRecord):
        if checked_name(name) in into:
            raise UnsoundError(message("has two tensors named {name}.", name=printable(repr(name), 60)))
        into[name] = value
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in inner:
        _flatten(f"{name}.{key}" if name else str(key), item, into)


# --- claims become records --------------------------------------------------------------------------------------------


class _Tree:
    """Copies a nested value with the tensors that it claims put in their places; refuses what is no data, what is
    nested without end, and what becomes large only because it is said many times."""

    def __init__(self, place: Place) -> None:
        self._place, self._left = place, _MOST_VALUES

    def copied(self, value: Any, depth: int = 0) -> Any:
        """Raises UnsoundError."""
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise UnsoundError(message("has values nested too deeply."))
        if isinstance(value, dict):
            return {key: self.copied(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.copied(item, depth + 1) for item in value)
        if isinstance(value, TensorClaim):
            return self._record(value)
        if isinstance(value, Name):
            return value.text
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        raise UnsoundError(message("contains something that is neither a tensor, a number nor text."))

    def _record(self, claim: TensorClaim) -> TensorRecord:
        shape, strides = checked_shape(claim.shape), checked_shape(claim.strides)
        storage, size = self._place(claim.storage), BITS[claim.dtype] // 8
        numbers, have = math.prod(shape), storage.size // size
        if type(claim.offset) is not int or claim.offset < 0 or len(strides) != len(shape):
            raise UnsoundError(message("has a tensor that begins outside its data."))
        reach = claim.offset + 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if numbers and (numbers > have or reach > have):
            raise UnsoundError(message("has a tensor that ends outside its data."))
        return TensorRecord(claim.dtype, shape, storage, claim.offset, strides)


# --- the zip file -----------------------------------------------------------------------------------------------------


class _Bounded:
    """A file from which nobody reads much at once, as `zipfile` would that is told to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Raises UnsoundError."""
        data = self._file.read(min(size, _MOST_LISTING + 1) if size >= 0 else _MOST_LISTING + 1)
        if len(data) > _MOST_LISTING:
            raise UnsoundError(message("has a directory that is far too long."))
        return data


def _zipped(file: BinaryIO, size: int) -> Any:
    try:
        with zipfile.ZipFile(_Bounded(file)) as opened:
            entries = _entries(opened)
            (name,) = (name for name in entries if name.endswith("/data.pkl"))
            root = name.removesuffix("data.pkl")
            for entry in entries:
                _check_entry(entry.removeprefix(root) if entry.startswith(root) else f"/{entry}")
            pickled = _content(opened, entries[name], MOST_BYTES)
            order = entries.get(f"{root}byteorder")
            if order and _content(opened, order, 10) != b"little":
                raise UnsoundError(message("has numbers in an unsupported byte order."))
    except UnsoundError:
        raise
    except (zipfile.BadZipFile, ValueError, OverflowError, EOFError, NotImplementedError, RuntimeError) as error:
        reason = printable(str(error) or type(error).__name__, 80)
        raise UnsoundError(
            message(
                "is not a valid PyTorch file ({problem}). It may be an incomplete download: download it again.",
                problem=reason,
            )
        ) from error
    places: dict[str, Storage] = {}

    def place(claim: StorageClaim) -> Storage:
        found = places.get(claim.key)
        if found is None:
            info = entries.get(f"{root}data/{claim.key}")
            if info is None:
                raise UnsoundError(message("lacks the data of some tensors."))
            found = places[claim.key] = _stored(file, info, opened.start_dir)
        return _as_claimed(found, claim)

    return _Tree(place).copied(read_pickle(BytesIO(pickled)))


def _entries(opened: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    found = {info.orig_filename: info for info in opened.infolist()}
    if len(found) != len(opened.infolist()):
        raise UnsoundError(message("has two entries of the same name."))
    if sum(name.endswith("/data.pkl") for name in found) != 1:
        raise UnsoundError(message("is a zip file, but not one that PyTorch writes."))
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1 for info in found.values()):
        raise UnsoundError(message("is a zip file with compressed or encrypted entries, which PyTorch never writes."))
    return found


def _check_entry(name: str) -> None:
    if name.startswith(("code/", "constants")):
        raise UnsoundError(
            message(
                "is a TorchScript file, which is a program and not only a model. sdterm does not run it. Get "
                "the model as .safetensors."
            )
        )
    if name != "data.pkl" and name not in _NOTES and not re.fullmatch(r"data/[0-9A-Za-z_]+|data/", name):
        raise UnsoundError(
            message("contains {name}, which does not belong in a model.", name=printable(repr(name), 60))
        )


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """With its checksum compared, as `zipfile` does."""
    if info.file_size > most:
        raise UnsoundError(message("has a tensor list larger than {limit} MiB.", limit=most // 1024**2))
    return opened.read(info)


def _stored(file: BinaryIO, info: zipfile.ZipInfo, end: int) -> Storage:
    """Where the bytes of an entry lie: behind a header of its own, which says again how long it is."""
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise UnsoundError(message("is damaged: its directory points to nothing. Download it again."))
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    at = info.header_offset + 30 + name + extra
    if (
        file.read(name) != info.orig_filename.encode()
        or info.compress_size != info.file_size
        or at + info.file_size > end
    ):
        raise UnsoundError(message("is damaged: its directory points to nothing. Download it again."))
    return Storage(at, info.file_size, info.CRC)


def _as_claimed(found: Storage, claim: StorageClaim) -> Storage:
    if found.size * 8 != claim.numbers * BITS[claim.dtype]:
        raise UnsoundError(
            message(
                "claims {number} numbers, but has only {size} bytes for them.", number=claim.numbers, size=found.size
            )
        )
    return found


# --- pickles in a row -------------------------------------------------------------------------------------------------


def _in_a_row(file: BinaryIO, size: int) -> Any:
    file.seek(0)
    if (read_pickle(file), read_pickle(file)) != (_MAGIC, _PROTOCOL):
        raise UnsoundError(
            message("is a pickle, but not one that PyTorch writes. sdterm does not run it, so it cannot read the file.")
        )
    about = read_pickle(file)
    if not isinstance(about, dict) or about.get("little_endian") is not True:
        raise UnsoundError(message("has numbers in an unsupported byte order."))
    claimed: dict[str, StorageClaim] = {}

    def claim(storage: StorageClaim) -> Storage:
        if claimed.setdefault(storage.key, storage) != storage:
            raise UnsoundError(message("uses one place for two types of numbers."))
        return places.get(storage.key) or Storage(0, storage.numbers * BITS[storage.dtype] // 8)

    places: dict[str, Storage] = {}
    content = read_pickle(file)
    _Tree(claim).copied(content)
    keys = read_pickle(file)
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or sorted(keys) != sorted(claimed):
        raise UnsoundError(message("lacks the data of some tensors."))
    for key in keys:
        if len(counted := file.read(8)) < 8:
            raise _cut_off()
        count = int.from_bytes(counted, "little", signed=True)
        place = Storage(file.tell(), count * BITS[claimed[key].dtype] // 8)
        places[key] = _as_claimed(place, claimed[key])
        if place.at + place.size > size:
            raise _cut_off()
        file.seek(place.at + place.size)
    if file.tell() != size:
        raise UnsoundError(message("has more bytes than its tensors need."))
    return _Tree(claim).copied(content)


def _cut_off() -> UnsoundError:
    return UnsoundError(message("ends too early. It may be an incomplete download: download it again."))

"""Reading a model file, whatever it is called: what it is, its content says."""

import mmap
import os
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sdterm.core.files import regular
from sdterm.core.library.gguf_header import MAGIC, gguf_header
from sdterm.core.library.safetensors_header import safetensors_header
from sdterm.core.library.tensors import BITS, Header, ModelFileError, Storage, TensorRecord, UnsoundError
from sdterm.core.library.torch_files import torch_header
from sdterm.core.text import printable
from sdterm.messages import message

if TYPE_CHECKING:
    import torch

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")

_TORCH: Mapping[str, str] = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_OTHERS: Mapping[bytes, str] = {
    b"version https://git-lfs": message(
        "is only a Git LFS pointer, not the model itself: `git lfs pull` downloads the model."
    ),
    b"<!doctype": message("is a web page, not a model: the site may have asked for a login. Download it again."),
    b"<html": message("is a web page, not a model: the site may have asked for a login. Download it again."),
}


@dataclass(frozen=True)
class WeightsFile:
    """A file of tensors: safetensors, GGUF or PyTorch's, none of which is run. Its header is read once, when it is
    first asked for. All raise ModelFileError."""

    path: Path
    on_read: Callable[[int], None] | None = field(default=None, compare=False, repr=False)
    """Told of each tensor that was read how many numbers it has."""
    called: str = field(default="", compare=False)
    """What errors call it; unset, its name."""

    @property
    def _name(self) -> str:
        return printable(self.called or self.path.name)

    @cached_property
    def _looked_at(self) -> tuple[Header, tuple[int, ...]]:
        try:
            with open(self.path, "rb", opener=regular) as file:
                stamp, suffix = _stamp(file), self.path.suffix
                if is_torch(file.read(32), suffix):
                    return header_of(file, stamp[0], suffix), stamp
            return _kept_header(self.path, stamp), stamp
        except UnsoundError as error:
            raise ModelFileError(message("{file} {problem}", file=self._name, problem=error)) from error
        except OSError as error:
            raise self._unreadable(error) from error

    @property
    def header(self) -> Header:
        return self._looked_at[0]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape. In PyTorch's files that nest them, keys are paths joined by dots; what stands beside a
        `state_dict` is no tensor of the model."""
        return self._shapes

    @cached_property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {key: record.shape for key, record in self.header.tensors.items()}

    @property
    def metadata(self) -> Mapping[str, str]:
        """The words in the header: safetensors' `__metadata__`, or what stands beside the tensors of a PyTorch file."""
        return self.header.metadata

    @property
    def content(self) -> Any:
        """The nested value that a PyTorch file holds: dictionaries, lists, texts, numbers, and `TensorRecord`s."""
        return self.header.content

    def read(
        self, keys: Sequence[str], device: "torch.device", dtype: "torch.dtype | None"
    ) -> "dict[str, torch.Tensor]":
        """The tensors of `keys`, memory-mapped where neither device nor dtype has to change; without a dtype, each
        keeps its own."""
        records = {key: self.header.tensors[key] for key in keys}
        try:
            with open(self.path, "rb", opener=regular) as file:
                if _stamp(file) != self._looked_at[1]:
                    raise ModelFileError(
                        message("{file} has changed since sdterm read its header. Try again.", file=self._name)
                    )
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise self._unreadable(error) from error
        checked: set[Storage] = set()
        tensors = {}
        for key, record in records.items():
            if record.storage not in checked:
                checked.add(record.storage)
                self._check(record.storage, mapped)
            tensors[key] = self._tensor(record, mapped).to(device=device, dtype=dtype)
            if self.on_read:
                self.on_read(record.numbers)
        return tensors

    def _check(self, storage: Storage, mapped: mmap.mmap) -> None:
        if storage.crc is None:
            return
        with memoryview(mapped) as whole, whole[storage.at : storage.at + storage.size] as part:
            if zlib.crc32(part) != storage.crc:
                raise ModelFileError(
                    message(
                        "{file} is damaged: its data does not match its checksum. Download it again.", file=self._name
                    )
                )

    def _tensor(self, record: TensorRecord, mapped: mmap.mmap) -> Any:
        if record.dtype not in _TORCH:
            raise ModelFileError(
                message(
                    "{file} has numbers of type {type}, which sdterm cannot read.", file=self._name, type=record.dtype
                )
            )
        torch: Any = sys.modules["torch"]  # whoever says on which of its devices has loaded it
        dtype = getattr(torch, _TORCH[record.dtype])
        if not record.numbers:
            return torch.empty(record.shape, dtype=dtype)
        size = BITS[record.dtype] // 8
        strides = record.strides or _in_rows(record.shape)
        span = 1 + sum((n - 1) * stride for n, stride in zip(record.shape, strides, strict=True))
        at = record.storage.at + record.offset * size
        if at % size:  # numbers of a tensor lie where a processor takes them best, those of an old file where they lie
            flat = torch.frombuffer(bytearray(mapped[at : at + span * size]), dtype=dtype)
        else:
            flat = torch.frombuffer(mapped, dtype=dtype, count=span, offset=at)
        return flat.as_strided(record.shape, strides)

    def _unreadable(self, error: OSError) -> ModelFileError:
        return ModelFileError(
            message(
                "{file} cannot be read: {problem}.",
                file=printable(str(self.path), 1000),
                problem=error.strerror or error,
            )
        )


@lru_cache(maxsize=8)
def _kept_header(path: Path, stamp: tuple[int, ...]) -> Header:
    """That of a file which is no pickle: each job asks for its checkpoint's, and checking thousands of tensors takes
    longer than a network's call. Raises UnsoundError, OSError."""
    with open(path, "rb", opener=regular) as file:
        return header_of(file, stamp[0], path.suffix)


def header_of(file: BinaryIO, size: int, suffix: str) -> Header:
    """What a file of that many bytes says of itself. suffix: what it is called, for the sentence if it is nothing that
    we know. Raises UnsoundError, OSError."""
    file.seek(0)
    if is_torch(start := file.read(32), suffix):
        return torch_header(file, size)
    return gguf_header(file, size) if start.startswith(MAGIC) else safetensors_header(file, size)


def is_torch(start: bytes, suffix: str) -> bool:
    """Whether what begins like this is PyTorch's, or else safetensors or GGUF. Raises UnsoundError if it is neither."""
    if start[8:10] == b'{"':  # the length of a safetensors header, which stands before it, may begin like a pickle
        return False
    if start.startswith((b"PK\x03\x04", *_PICKLES)):
        return True
    if start.startswith(MAGIC):
        return False
    for magic, words in _OTHERS.items():
        if start.lstrip().lower().startswith(magic.lower()):
            raise UnsoundError(words)
    if start[8:9] != b"{" and suffix != ".safetensors":
        raise UnsoundError(
            message("is neither a safetensors nor a PyTorch file. It may be an incomplete download: download it again.")
        )
    return False


def _stamp(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def _in_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)

"""The tape: every denoiser call of a job, so that a job stopped anywhere goes on where it was.

A row is (image, pass, module, call) → the exact tensors that the sampler received, with the call's sigma and a
checksum of its x. To resume, the sampler simply runs from the top: its noise draws repeat by themselves, recorded calls
are answered from the tape at no cost, and live sampling goes on at the first call that is missing. A row is served only
to the same call (same sigma, same x); on the first mismatch the rest of that image's pass is cut off.

On disk a tape is an append-only log of checksummed records, written without fsync: a process that dies loses at most
the record being written, and a torn end is ignored.
"""

import hashlib
import json
import os
import struct
import threading
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sdterm.core.locks import lock
from sdterm.errors import SdtermError
from sdterm.hooks import Denoised
from sdterm.messages import message

_MAGIC = b"sdterm tape 3\n"
_ANY_MAGIC = b"sdterm tape "
_FRAME = struct.Struct("<III")  # bytes of JSON, bytes of payload, CRC-32 of both
_LARGEST = 2**31  # bytes; a record that claims more is damage
_LONG = 64 * 2**20  # bytes
_PATIENCE = 5.0  # seconds


class TapeError(SdtermError, OSError):
    """The tape file cannot be used."""

    code = "tape_unusable"


DENOISER = "denoiser"
"""The module whose calls are recorded; a pipeline may have more than one."""


@dataclass(frozen=True)
class Row:
    """One call of a module for one image in one pass, on the CPU."""

    image: int
    pass_no: int
    module: str
    call: int
    sigma: float
    checksum: str
    """Of what it was given."""
    tensors: tuple[torch.Tensor | None, ...]
    """What it gave: of the guided network a `Denoised` of one image."""
    tree: Any = None
    """How a pipeline's module gave them, as JSON; see `engine/tapped/tree.py`."""

    @property
    def result(self) -> Denoised:
        """Of the guided network, [C, h, w] tensors."""
        x0, uncond = (*self.tensors, None)[:2]
        assert x0 is not None
        return Denoised(x0, uncond)

    def answers(self, x: torch.Tensor, sigma: float) -> bool:
        """Whether this row is of that very call."""
        return self.sigma == sigma and self.checksum == checksum(x)


def checksum(x: torch.Tensor) -> str:
    """Of a tensor's exact bytes."""
    return hashlib.blake2b(_bytes(x), digest_size=8).hexdigest()


def bit_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same, to the bit; a NaN is as good as itself."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and _bytes(one) == _bytes(other)


class Tape:
    """The rows of one job, in memory and, given a path, on disk. Safe to use from several threads.

    `header` says what the rows depend on, `passes` what those of each pass and of the passes after it do besides. If
    the file at `path` was recorded under others, `mismatch` names the entries that differ, and its rows are dropped
    from the first pass on that they concern.
    """

    def __init__(
        self, header: Mapping[str, Any], path: Path | None = None, passes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[int, int, str, int], Row] = {}  # image, pass, module, call
        self._starts: dict[tuple[int, int], str] = {}  # image, pass
        self._inits: dict[tuple[int, int], Mapping[str, torch.Tensor]] = {}  # image, pass
        self._float32: dict[tuple[int, int], int] = {}
        self._finished: set[int] = set()
        self._delivered: set[tuple[int, str]] = set()  # image, kind of picture
        self._file: BinaryIO | None = None
        self._body = 0  # where the header ends
        self.mismatch: tuple[str, ...] = ()
        self.kept = 0
        """Where there is a mismatch: how many passes keep their rows."""
        head = self._head = json.loads(json.dumps({"header": header, "passes": passes}))
        if path is None:
            return
        try:
            self._file = _locked(path)
            stored, end = self._load(path)
            if _is_of_another_version(path):
                self.mismatch = ("version of sdterm",)
            elif stored is not None:
                self.kept, self.mismatch = _compared(stored, head)
            if self.mismatch:
                self._forget(self.kept)
            self._file.truncate(0 if self.mismatch else end)
            self._file.seek(0, 2)
            if stored is None or self.mismatch:
                self._begin(head)
        except OSError as error:
            self.close()
            if isinstance(error, TapeError):
                raise
            raise TapeError(
                error.errno,
                message("The tape {file} cannot be used: {problem}.", file=path, problem=error.strerror or error),
            ) from error

    def row(self, image: int, pass_no: int, module: str, call: int) -> Row | None:
        return self._rows.get((image, pass_no, module, call))

    def recorded(self, image: int, pass_no: int, module: str) -> int:
        """How many rows of an image's pass there are."""
        return sum(1 for *of, _ in self._rows if of == [image, pass_no, module])

    def start(self, image: int, pass_no: int, latents: torch.Tensor) -> None:
        """Row 0 of an image's pass: the latents it starts from. Rows of another start are cut off."""
        start = checksum(latents)
        if self._starts.get((image, pass_no)) == start:
            return
        with self._lock:
            for module in {row.module for row in self._rows.values()}:
                self._cut(image, pass_no, module, 0)
            self._starts[image, pass_no] = start
            self._write({"kind": "start", "image": image, "pass": pass_no, "checksum": start}, [latents])

    def init(self, image: int, pass_no: int) -> Mapping[str, torch.Tensor] | None:
        """What an image's pass begins with before noise is mixed in, by name and on the CPU, as it was kept."""
        return self._inits.get((image, pass_no))

    def keep_init(self, image: int, pass_no: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Whoever goes on begins with the same: encoded or enlarged once more it may be another, in tiles for one."""
        with self._lock:
            self._inits[image, pass_no] = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
            self._write_init(image, pass_no)

    def append(self, row: Row) -> None:
        with self._lock:
            self._rows[row.image, row.pass_no, row.module, row.call] = row
            self._write_row(row)

    def cut(self, image: int, pass_no: int, module: str, call: int) -> None:
        """Drop the rows of an image's pass from `call` on. Those of later passes start from what is drawn anew, and
        are dropped when that differs."""
        with self._lock:
            self._cut(image, pass_no, module, call)

    def begin_again(self, image: int, pass_no: int) -> None:
        """Drop all rows of an image's pass."""
        with self._lock:
            for module in {row.module for row in self._rows_of(image, pass_no)}:
                self._cut(image, pass_no, module, 0)

    def go_float32(self, image: int, pass_no: int, module: str, call: int) -> None:
        """A change of plan: from `call` on this pass of the image is computed in float32."""
        with self._lock:
            self._cut(image, pass_no, module, call)
            self._float32[image, pass_no] = call
            self._write({"kind": "float32", "image": image, "pass": pass_no, "module": module, "call": call})

    def adopt(self, recorded: "Recorded", image: int, pass_no: int) -> None:
        """Take over what another tape has of a pass of an image."""
        with self._lock:
            self._starts[image, pass_no] = recorded.start
            self._write({"kind": "start", "image": image, "pass": pass_no, "checksum": recorded.start})
            if recorded.init is not None:
                self._inits[image, pass_no] = recorded.init
                self._write_init(image, pass_no)
            if recorded.float32 is not None:
                self._float32[image, pass_no] = recorded.float32
                at = {"image": image, "pass": pass_no, "module": DENOISER, "call": recorded.float32}
                self._write({"kind": "float32", **at})
        for row in recorded.rows:
            self.append(replace(row, image=image, pass_no=pass_no))

    def take_over(self, path: Path, images: Collection[int]) -> None:
        """Take over what another tape of the same job has of these images beyond what this one has."""
        other = Tape({})
        try:
            stored, _ = other._load(path)
        except (OSError, ValueError, KeyError, IndexError):  # damage: it is drawn again
            return
        if stored is None:
            return
        kept, different = _compared(stored, self._head)
        for (image, pass_no), start in sorted(other._starts.items()):
            rows = other._rows_of(image, pass_no)
            is_same = not different or pass_no < kept
            if image in images and is_same and len(rows) > len(self._rows_of(image, pass_no)):
                with self._lock:
                    self._cut(image, pass_no, DENOISER, 0)
                init, float32 = other._inits.get((image, pass_no)), other._float32.get((image, pass_no))
                theirs = Recorded(self._head["header"], self._head["passes"], start, rows, init, float32)
                self.adopt(theirs, image, pass_no)

    def is_float32(self, image: int, pass_no: int) -> bool:
        return (image, pass_no) in self._float32

    def finish(self, image: int) -> None:
        """The image was delivered: it is not drawn again, and its rows are dropped."""
        with self._lock:
            self._finished.add(image)
            self._let_go(image)
            self._write({"kind": "finished", "image": image})
            self._compact()

    def finished(self) -> frozenset[int]:
        """The images that were delivered."""
        return frozenset(self._finished)

    def deliver(self, image: int, kind: str) -> None:
        """A picture of that kind that comes with the image was delivered: it is not made again."""
        with self._lock:
            self._delivered.add((image, kind))
            self._write({"kind": "delivered", "image": image, "picture": kind})

    def is_delivered(self, image: int, kind: str) -> bool:
        return (image, kind) in self._delivered

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _rows_of(self, image: int, pass_no: int) -> list[Row]:
        return [row for row in self._rows.values() if (row.image, row.pass_no) == (image, pass_no)]

    def _compact(self) -> None:
        """Once a file is long and none of its rows is wanted any more, it begins again behind its header: a job of
        many images would fill the disk, and take ever longer to go on."""
        if not self._file or self._rows or self._inits or self._file.tell() - self._body < _LONG:
            return
        self._file.truncate(self._body)
        self._file.seek(self._body)
        for image in sorted(self._finished):
            self._write({"kind": "finished", "image": image})
        for image, kind in sorted(self._delivered):
            self._write({"kind": "delivered", "image": image, "picture": kind})

    def _cut(self, image: int, pass_no: int, module: str, call: int) -> None:
        if self._drop(image, pass_no, module, call):
            self._write({"kind": "cut", "image": image, "pass": pass_no, "module": module, "call": call})

    def _drop(self, image: int, pass_no: int, module: str, call: int) -> bool:
        """Returns whether there was anything. Later passes go on from what is drawn anew."""
        gone = [key for key in self._rows if key[:3] == (image, pass_no, module) and key[3] >= call]
        for key in gone:
            del self._rows[key]
        if gone:
            self._inits = {key: init for key, init in self._inits.items() if key[0] != image or key[1] <= pass_no}
        return bool(gone)

    def _let_go(self, image: int) -> None:
        """Of a finished image nothing is wanted any more."""
        self._rows = {key: row for key, row in self._rows.items() if key[0] != image}
        self._inits = {key: init for key, init in self._inits.items() if key[0] != image}

    def _forget(self, first: int = 0) -> None:
        """Drop what is known of the passes from `first` on, and with it what was delivered."""
        self._rows = {key: row for key, row in self._rows.items() if row.pass_no < first}
        self._starts = {key: start for key, start in self._starts.items() if key[1] < first}
        self._inits = {key: init for key, init in self._inits.items() if key[1] < first}
        self._float32 = {key: call for key, call in self._float32.items() if key[1] < first}
        self._finished, self._delivered = set(), set()

    def _begin(self, head: Mapping[str, Any]) -> None:
        """Write a new file's header, and behind it what is kept of the one before."""
        if not self._file:
            return
        self._file.write(_MAGIC)
        self._write({"kind": "header", **head})
        self._body = self._file.tell()
        for (image, pass_no), start in self._starts.items():
            self._write({"kind": "start", "image": image, "pass": pass_no, "checksum": start})
        for image, pass_no in self._inits:
            self._write_init(image, pass_no)
        for (image, pass_no), call in self._float32.items():
            self._write({"kind": "float32", "image": image, "pass": pass_no, "module": DENOISER, "call": call})
        for row in self._rows.values():
            self._write_row(row)

    def _write_init(self, image: int, pass_no: int) -> None:
        init = self._inits[image, pass_no]
        self._write({"kind": "init", "image": image, "pass": pass_no, "names": [*init]}, [*init.values()])

    def _write_row(self, row: Row) -> None:
        tensors = [tensor for tensor in row.tensors if tensor is not None]
        at = {"image": row.image, "pass": row.pass_no, "module": row.module, "call": row.call}
        tree = {} if row.tree is None else {"tree": row.tree}
        self._write({"kind": "row", **at, "sigma": row.sigma, "checksum": row.checksum, **tree}, tensors)

    def _write(self, fields: Mapping[str, Any], tensors: list[torch.Tensor] | None = None) -> None:
        if not self._file:
            return
        tensors = tensors or []
        shapes = [[str(t.dtype).removeprefix("torch."), list(t.shape)] for t in tensors]
        head = json.dumps({**fields, "tensors": shapes}).encode()
        payload = b"".join(_bytes(tensor) for tensor in tensors)
        record = _FRAME.pack(len(head), len(payload), zlib.crc32(head + payload)) + head + payload
        written = self._file.write(record)
        if written != len(record):  # a full disk may take part of it; the torn end is ignored on reading
            raise TapeError(28, message("The disk is full, so the tape cannot be written."))

    def _load(self, path: Path, *, all_rows: bool = False) -> tuple[dict[str, Any] | None, int]:
        """Replay a file's records. Returns its header's fields, if any, and where its sound part ends. all_rows: those
        of images that are finished, too."""
        head, end = None, 0
        for fields, tensors, position in read_records(path):
            end = position
            match fields:
                case {"kind": "header"}:
                    head = fields
                    self._forget()
                    self._body = position
                case {"kind": "start", "image": image, "pass": pass_no, "checksum": start}:
                    self._starts[image, pass_no] = start
                case {"kind": "init", "image": image, "pass": pass_no, "names": names}:
                    self._inits[image, pass_no] = dict(zip(names, tensors, strict=True))
                case {"kind": "row", "image": image, "pass": pass_no, "module": module, "call": call}:
                    what = fields["sigma"], fields["checksum"], tuple(tensors), fields.get("tree")
                    row = Row(image, pass_no, module, call, *what)
                    self._rows[image, pass_no, module, call] = row
                case {"kind": "cut", "image": image, "pass": pass_no, "module": module, "call": call}:
                    self._drop(image, pass_no, module, call)
                case {"kind": "float32", "image": image, "pass": pass_no, "call": call}:
                    self._float32[image, pass_no] = call
                case {"kind": "finished", "image": image}:
                    self._finished.add(image)
                    if not all_rows:
                        self._let_go(image)
                case {"kind": "delivered", "image": image, "picture": kind}:
                    self._delivered.add((image, kind))
        return head, end


@dataclass(frozen=True)
class Recorded:
    """What a tape has of one pass of one image."""

    header: Mapping[str, Any]
    passes: Sequence[Mapping[str, Any]]
    start: str
    rows: Sequence[Row]
    init: Mapping[str, torch.Tensor] | None
    float32: int | None


def recorded(path: Path, image: int, pass_no: int) -> Recorded | None:
    """What a tape file has of a pass of an image, finished or not; None if there is nothing."""
    tape = Tape({})
    try:
        head, _ = tape._load(path, all_rows=True)
    except (OSError, ValueError, KeyError, IndexError):  # somebody else's file, or damage: it is drawn again
        return None
    rows = tape._rows_of(image, pass_no)
    start = tape._starts.get((image, pass_no))
    if not head or not rows or start is None:
        return None
    init, float32 = tape._inits.get((image, pass_no)), tape._float32.get((image, pass_no))
    return Recorded(head.get("header", {}), head.get("passes", ()), start, rows, init, float32)


def _locked(path: Path) -> BinaryIO:
    """The file, opened for this process alone. One that was killed may need a moment to be gone."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)
    if lock(file, patience=_PATIENCE):
        return file
    file.close()
    raise TapeError(
        0, message("The tape {file} is in use by another process. Wait for it, or choose another file.", file=path)
    )


def _compared(stored: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """(how many passes keep their rows, the entries of two headers that differ)."""

    def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
        return [key for key in now if before.get(key) != now[key]]

    names = differing(stored.get("header", {}), head["header"])
    kept = 0 if names else len(head["passes"])
    for number, (before, now) in enumerate(zip(stored.get("passes", ()), head["passes"], strict=False)):
        if different := differing(before, now):
            names += different
            kept = min(kept, number)
    return kept, tuple(dict.fromkeys(names))


def _is_of_another_version(path: Path) -> bool:
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
    return magic.startswith(_ANY_MAGIC) and magic != _MAGIC


def read_header(path: Path) -> dict[str, Any] | None:
    """What a tape file was recorded under; None if there is no such file or it holds none."""
    for fields, _, _ in read_records(path):
        header = fields.get("header")
        return header if isinstance(header, dict) else None
    return None


def read_records(path: Path) -> Iterator[tuple[dict[str, Any], list[torch.Tensor], int]]:
    """The sound records of a tape file: (fields, tensors, end position). Stops at the first torn or damaged one; of a
    tape of another version there are none. Raises TapeError if the file is something else."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
        if not magic.startswith(_ANY_MAGIC):
            raise TapeError(0, message("{file} is not a tape. Choose another file.", file=path))
        if magic != _MAGIC:
            return
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            head_size, payload_size, crc = _FRAME.unpack(frame)
            if head_size + payload_size > _LARGEST:
                return
            body = file.read(head_size + payload_size)
            if len(body) != head_size + payload_size or zlib.crc32(body) != crc:
                return
            fields = json.loads(body[:head_size])
            yield fields, list(_tensors(fields["tensors"], memoryview(bytearray(body))[head_size:])), file.tell()


def _tensors(shapes: list[Any], payload: memoryview) -> Iterator[torch.Tensor]:
    offset = 0
    for name, shape in shapes:
        dtype: torch.dtype = getattr(torch, name)
        count = torch.Size(shape).numel()
        if not count:  # which no buffer can be read as
            yield torch.empty(shape, dtype=dtype)
            continue
        yield torch.frombuffer(payload, dtype=dtype, count=count, offset=offset).reshape(shape).clone()
        offset += count * dtype.itemsize


def _bytes(tensor: torch.Tensor) -> bytes:
    # Not contiguous(): it keeps the stride 0 of an expanded tensor of one element, which has no bytes of its own.
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype)
    flat.copy_(tensor.detach().reshape(-1))
    return flat.view(torch.uint8).numpy().tobytes()

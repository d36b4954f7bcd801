"""A pickle read as data. A pickle is a program for a machine that can call anything. This machine can call nothing: it
makes lists, dictionaries, texts and numbers, and looks a name up in the tables below instead of importing it.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from sdterm.core.library.tensors import UnsoundError
from sdterm.core.text import printable
from sdterm.messages import message

V = TypeVar("V")

MOST_BYTES = 8 * 1024**2
"""Of one pickle: the list of a model's tensors has less than one."""
_MOST_LINE = 200
_MOST_NUMBER = 16  # bytes of an integer; PyTorch's magic number has 10


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle means by a word like `torch.FloatStorage`, as the word alone."""

    text: str


@dataclass(frozen=True, slots=True)
class StorageClaim:
    """So many numbers of a type are said to lie in the file under this key."""

    key: str
    dtype: str
    numbers: int


@dataclass(frozen=True, slots=True)
class TensorClaim:
    """A tensor is said to be this view of a storage."""

    storage: StorageClaim
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Number:
    """numpy's name of a type, as `f8`."""

    code: str


class _Parameters(dict[Any, Any]):
    """A `torch.nn.ParameterDict` before it is told what is in it."""


class _Mark:
    pass


STORAGES: Mapping[str, str] = {
    f"{place}.{name}Storage": dtype
    for place in ("torch", "torch.cuda")
    for name, dtype in {
        "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
        "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64",
    }.items()
} | {"torch.storage.UntypedStorage": "U8"}  # fmt: skip
DTYPES: Mapping[str, str] = {
    f"torch.{name}": dtype
    for name, dtype in {
        "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
        "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
        "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
        "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    }.items()
}  # fmt: skip
_SCALARS: Mapping[str, str] = {
    "f2": "<e", "f4": "<f", "f8": "<d", "i1": "<b", "i2": "<h", "i4": "<i", "i8": "<q",
    "u1": "<B", "u2": "<H", "u4": "<I", "u8": "<Q", "b1": "<?",
}  # fmt: skip
_ORDERED, _PARAMETERS = "collections.OrderedDict", "torch.nn.modules.container.ParameterDict"
_WORDS = ("pytorch_lightning.callbacks.", "lightning.pytorch.callbacks.")
"""Classes that training programs use as keys of what they note beside the weights."""


def read_pickle(file: BinaryIO) -> Any:
    """The value of the pickle that begins here; the file stands behind it then. Raises UnsoundError."""
    return _Machine(file).run()


class _Machine:
    """Reads one pickle. Of what it holds, only texts and small numbers are ever hashed, and only types are shown: both
    go as deep as a value is nested, which can be deeper than a process has room for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MOST_BYTES
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Raises UnsoundError."""
        try:
            while (code := self._take(1)) != b".":
                step = _STEPS.get(code)
                if step is None:
                    raise UnsoundError(
                        message("contains the pickle instruction {code}, which no model needs.", code=code)
                    )
                step(self)
            (value,) = self._stack
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error, OverflowError) as error:
            raise _damaged() from error
        return value

    def _take(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise UnsoundError(message("has a tensor list larger than {limit} MiB.", limit=MOST_BYTES // 1024**2))
        if len(data := self._file.read(count)) != count:
            raise UnsoundError(message("ends too early. It may be an incomplete download: download it again."))
        return data

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, form: str, encoding: str = "utf-8") -> str:
        return self._take(self._number(form)).decode(encoding)

    def _line(self) -> str:
        line = b""
        while (character := self._take(1)) != b"\n":
            line += character
            if len(line) > _MOST_LINE:
                raise _damaged()
        return line.decode("ascii")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while not isinstance(self._stack[at], _Mark):
            at -= 1
            if at < 0:
                raise _damaged()
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _tuple(self, count: int) -> None:
        values = tuple(self._stack[-count:])
        if len(values) < count:
            raise _damaged()
        self._stack[-count:] = [values]

    def _put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise _damaged()
        target.extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, _Parameters) or len(values) % 2:
            raise _damaged()
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def _integer(self) -> int:
        size = self._number("<B")
        if size > _MOST_NUMBER:
            raise _damaged()
        return int.from_bytes(self._take(size), "little", signed=True)

    def _global(self, module: str, name: str) -> None:
        self._push(_meant(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _damaged()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or name.text not in _MADE or not isinstance(arguments, tuple):
            raise _called(name)
        self._push(_MADE[name.text](*arguments))

    def _new(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if arguments != () or name not in (Name(_ORDERED), Name(_PARAMETERS)):
            raise _called(name)
        self._push({} if name == Name(_ORDERED) else _Parameters())

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is _Parameters:
            target.update(_only(dict, state["_parameters"]))
        elif type(target) is _Number:
            if state[1] not in ("<", "|", "="):
                raise UnsoundError(message("has numbers in an unsupported byte order."))
        elif type(target) is not dict:  # what an OrderedDict is told besides are notes of PyTorch's on versions
            raise _damaged()

    def _storage(self) -> None:
        match self._stack.pop():
            case ("storage", Name(kind), str(key), str(), int(numbers), *view) if view in ([], [None]):
                self._push(StorageClaim(key, STORAGES[kind], numbers))
            case ("module", Name() as name, str(), str()):  # a class with its source text, in the old format
                self._push(name)
            case _:
                raise UnsoundError(message("has tensor data in a place that sdterm does not support."))


def _key(key: Any) -> Any:
    """A dictionary's key, of few kinds: numbers without bound can be chosen so that a dictionary takes for ever."""
    if type(key) is str or (type(key) is int and abs(key) < 1 << 31):
        return key
    raise UnsoundError(message("has a dictionary with keys that are neither text nor numbers."))


def _meant(text: str) -> Any:
    if text.startswith(_WORDS):
        return text
    if text in _MADE or text in STORAGES or text in DTYPES or text == _PARAMETERS:
        return Name(text)
    raise _called(Name(text))


def _called(name: object) -> UnsoundError:
    what = printable(name.text if isinstance(name, Name) else type(name).__name__, 80)
    return UnsoundError(
        message(
            "refers to {name}, which is not data: a program that loads it may run foreign code. sdterm never "
            "runs such code, so it does not read this file. Get the model as .safetensors from a source that "
            "you trust.",
            name=what,
        )
    )


def _damaged() -> UnsoundError:
    return UnsoundError(message("is damaged: its tensor list is not valid. Download it again."))


# --- what is made without being called --------------------------------------------------------------------------------


def _only(kind: type[V], value: object) -> V:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _ordered(pairs: list[Any] | None = None) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs or []}


def _tensor(
    storage: StorageClaim, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> TensorClaim:
    return TensorClaim(_only(StorageClaim, storage), storage.dtype, offset, shape, strides)


def _typed_tensor(
    storage: StorageClaim,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    grad: bool,
    hooks: object,
    dtype: Name,
    *_: Any,
) -> TensorClaim:
    return TensorClaim(_only(StorageClaim, storage), DTYPES[dtype.text], offset, shape, strides)


def _parameter(tensor: TensorClaim, *_: Any) -> TensorClaim:
    return _only(TensorClaim, tensor)


def _device(kind: str, number: int = 0) -> str:
    return f"{_only(str, kind)}:{_only(int, number)}"


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError
    return text.encode("latin1")


def _scalar(kind: _Number, data: bytes) -> Any:
    return struct.unpack(_SCALARS[kind.code], data)[0]


_MADE: Mapping[str, Callable[..., Any]] = {
    _ORDERED: _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "builtins.set": list,
    "__builtin__.set": list,
    "torch.device": _device,
    "_codecs.encode": _encoded,
    "numpy.dtype": lambda code, *_: _Number(_only(str, code)),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}
_STEPS: Mapping[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda m: m._take(1),  # the protocol
    b"\x95": lambda m: m._take(8),  # a frame
    b"(": lambda m: m._push(_Mark()),
    b"}": lambda m: m._push({}),
    b"]": lambda m: m._push([]),
    b"\x8f": lambda m: m._push([]),  # a set, of which nobody asks more than what is in it
    b")": lambda m: m._push(()),
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"J": lambda m: m._push(m._number("<i")),
    b"\x8a": lambda m: m._push(m._integer()),
    b"G": lambda m: m._push(m._number(">d")),
    b"X": lambda m: m._push(m._text("<I")),
    b"\x8c": lambda m: m._push(m._text("<B")),
    b"T": lambda m: m._push(m._text("<I", "latin1")),
    b"U": lambda m: m._push(m._text("<B", "latin1")),
    b"B": lambda m: m._push(m._take(m._number("<I"))),
    b"C": lambda m: m._push(m._take(m._number("<B"))),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"h": lambda m: m._push(m._memo[m._number("<B")]),
    b"j": lambda m: m._push(m._memo[m._number("<I")]),
    b"t": lambda m: m._push(tuple(m._since_mark())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"a": lambda m: m._extend([m._stack.pop()]),
    b"e": lambda m: m._extend(m._since_mark()),
    b"\x90": lambda m: m._extend(m._since_mark()),
    b"s": lambda m: m._set([m._stack.pop(), m._stack.pop()][::-1]),
    b"u": lambda m: m._set(m._since_mark()),
    b"c": lambda m: m._global(m._line(), m._line()),
    b"\x93": lambda m: m._stack_global(),
    b"R": lambda m: m._reduce(),
    b"\x81": lambda m: m._new(),
    b"b": lambda m: m._build(),
    b"Q": lambda m: m._storage(),
}

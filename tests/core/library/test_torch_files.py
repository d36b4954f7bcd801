"""PyTorch's files are read, and nothing of them is ever run."""

import collections
import importlib
import io
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sdterm.core.library.tensors import ModelFileError, TensorRecord
from sdterm.core.library.weights import WeightsFile

CPU = torch.device("cpu")


def nested() -> dict[Any, Any]:
    torch.manual_seed(1)
    return {
        "state_dict": collections.OrderedDict(
            plain=torch.randn(3, 4).half(),
            turned=torch.arange(6).view(2, 3).t(),
            parameter=torch.nn.Parameter(torch.randn(2)),
            view=torch.arange(10.0)[3:7],
            eight=torch.randn(5).to(torch.float8_e4m3fn),
            bf=torch.randn(3).bfloat16(),
            one=torch.tensor(3.0),
            empty=torch.zeros(0, 2),
            truths=torch.tensor([True, False, True]),
        ),
        "global_step": 7,
        "name": "style",
        "layers": [1, 2.5, None, (True, "relu")],
        320: [torch.nn.Linear(3, 2).state_dict(), torch.nn.Linear(3, 2).state_dict()],
        "string_to_param": torch.nn.ParameterDict({"*": torch.ones(2, 8)}),
        "hooks": {"names"},
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_and_what_stands_beside_them_are_read_as_pytorch_reads_them(
    zipped: bool, protocol: int, tmp_path: Path
) -> None:
    value = nested()
    torch.save(value, tmp_path / "m.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    file = WeightsFile(tmp_path / "m.pt")
    assert file.shapes() == {key: tuple(tensor.shape) for key, tensor in value["state_dict"].items()}
    read = file.read(list(file.shapes()), CPU, None)
    for key, tensor in value["state_dict"].items():
        assert (read[key].dtype, read[key].stride()) == (tensor.dtype, tensor.stride())
        assert torch.equal(read[key].float(), tensor.float()), key
    assert file.metadata == {"global_step": "7", "name": "style"}
    content = file.content
    assert content["layers"] == [1, 2.5, None, (True, "relu")] and content["hooks"] == ["names"]
    assert isinstance(content[320][1]["bias"], TensorRecord) and content["string_to_param"]["*"].shape == (2, 8)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_of_a_file_without_a_state_dict_are_named_by_their_path(zipped: bool, tmp_path: Path) -> None:
    value = {key: item for key, item in nested().items() if key != "state_dict"}
    torch.save(value, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    file = WeightsFile(tmp_path / "m.pt")
    assert sorted(file.shapes()) == ["320.0.bias", "320.0.weight", "320.1.bias", "320.1.weight", "string_to_param.*"]
    tensors = file.read(list(file.shapes()), CPU, None)
    assert torch.equal(tensors["320.1.weight"], value[320][1]["weight"])
    assert torch.equal(tensors["string_to_param.*"], torch.ones(2, 8))


def test_what_a_file_is_its_content_says_and_not_its_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "m.ckpt")
    torch.save({"a": torch.ones(2)}, tmp_path / "m.safetensors")
    for name in ("m.ckpt", "m.safetensors"):
        assert WeightsFile(tmp_path / name).read(["a"], CPU, None)["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGUF\3\0\0\0" + bytes(10), "not a valid .gguf file"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    ],
)
def test_what_people_take_for_a_model_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.ckpt").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"^m\.ckpt {words}|{words}"):
        WeightsFile(tmp_path / "m.ckpt").shapes()


# --- what is meant to do harm -----------------------------------------------------------------------------------------


class Calls:
    """Pickled as a call: whoever unpickles it, runs it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def saved(value: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(files: dict[str, bytes], packed: int = zipfile.ZIP_STORED) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", packed) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return into.getvalue()


def with_pickle(pickled: bytes) -> bytes:
    files = entries(saved({"a": torch.ones(4)}))
    return zipped({name: pickled if name.endswith("data.pkl") else content for name, content in files.items()})


def pickled(content: bytes = b"") -> bytes:
    return next(data for name, data in entries(content or saved({"a": torch.ones(4)})).items() if name.endswith(".pkl"))


def changed(old: bytes, new: bytes) -> bytes:
    before = pickled()
    assert old in before
    return with_pickle(before.replace(old, new))


def legacy(*pickles: bytes) -> bytes:
    return b"".join(pickles)


def laughs(begin: bytes = b"(", end: bytes = b"t") -> bytes:
    """Twenty lists, each of ten times the one before it."""
    lists = b"".join(b"]q%c(%se" % (i + 1, b"h%c" % i * 10) for i in range(20))
    return b"\x80\x02" + begin + b"]q\x00" + lists + end + b"."


def many_views() -> bytes:
    tensor = torch.ones(4096)
    return saved({str(i): tensor.view(64, 64) for i in range(50)})


TOUCH = "touch trace"
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
HEAD = MAGIC + pickle.dumps({"little_endian": True}, 2)
PARAMETERS = b"\x80\x02ctorch.nn.modules.container\nParameterDict\n)\x81}X\x0b\0\0\0_parameters"
HARMFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "os.system": (lambda: saved({"a": Calls(os.system, TOUCH)}), "system, which is not data"),
    "os.system in the old format": (
        lambda: saved({"a": Calls(os.system, TOUCH)}, _use_new_zipfile_serialization=False),
        "system, which is not data",
    ),
    "importlib": (lambda: saved(Calls(importlib.import_module, "antigravity")), "importlib.import_module, which is"),
    "eval": (lambda: saved(Calls(eval, "open('trace', 'w')")), "eval, which is not data"),
    "getattr": (lambda: saved(Calls(getattr, 1, "real")), "getattr, which is not data"),
    "torch.load": (lambda: saved(Calls(torch.load, "trace")), "torch.serialization.load, which is not data"),
    "an empty class of ours": (lambda: with_pickle(b"\x80\x02csdterm.errors\nSdtermError\n)\x81."), "sdterm.errors"),
    "a call of what is no name": (lambda: with_pickle(b"\x80\x02X\x01\0\0\0a)R."), "refers to str"),
    "a known name and rubbish": (lambda: with_pickle(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R."), "damaged"),
    "a plain pickle": (lambda: pickle.dumps(Calls(os.system, TOUCH), 2), "system, which is not data"),
    "a pickle of data": (lambda: pickle.dumps([1]) + pickle.dumps([2]), "not one that PyTorch writes"),
    "protocol 0": (lambda: pickle.dumps(Calls(os.system, TOUCH), 0), "an incomplete download"),
    "protocol 0 in a zip": (lambda: with_pickle(pickle.dumps(Calls(os.system, TOUCH), 0)), "not data"),
    "protocol 0 with an old word": (lambda: with_pickle(b"(S'touch trace'\nios\nsystem\n."), "b'S', which no model"),
    "extension codes": (lambda: with_pickle(b"\x80\x02\x82\x01)R."), "b'\\x82', which no model"),
    "a pickle behind a good one": (lambda: legacy(MAGIC, pickle.dumps(Calls(os.system, TOUCH), 2)), "not data"),
    "nested zips": (lambda: zipped({"a/data.pkl": with_pickle(pickled())}), "instruction b'P'"),
    "a zip in the zip": (lambda: zipped(entries(saved({})) | {"archive/inner.pt": saved({})}), "'inner.pt'"),
    "two pickles": (lambda: zipped(entries(saved({})) | {"b/data.pkl": pickled()}), "not one that PyTorch writes"),
    "no pickle": (lambda: zipped({"a": b""}), "not one that PyTorch writes"),
    "a way out": (lambda: zipped(entries(saved({})) | {"../../trace": b"x"}), "'/../../trace'"),
    "TorchScript": (lambda: zipped(entries(saved({})) | {"archive/code/x.py": b"x"}), "is a TorchScript file"),
    "packed": (lambda: zipped(entries(saved({"a": torch.zeros(1000)})), zipfile.ZIP_DEFLATED), "compressed"),
    "a wrong checksum of the list": (lambda: saved({"a": torch.ones(4)}).replace(b"cpu", b"gpu"), "CRC"),
    "cut off": (lambda: saved(nested())[:-100], "It may be an incomplete download"),
    "cut off in the old format": (lambda: saved(nested(), _use_new_zipfile_serialization=False)[:-1], "too early"),
    "cut off in a count": (
        lambda: saved({"a": torch.zeros(0)}, _use_new_zipfile_serialization=False)[:-1],
        "too early",
    ),
    "a list of storages of numbers": (lambda: legacy(HEAD, pickled(), pickle.dumps([0], 2)), "lacks the data"),
    "a list of storages that laughs": (lambda: legacy(HEAD, pickle.dumps({}, 2), laughs(b"](", b"e")), "lacks the"),
    "cut off early": (lambda: saved(nested(), _use_new_zipfile_serialization=False)[:200], "too early"),
    "more than the old format has": (lambda: saved({}, _use_new_zipfile_serialization=False) + b"x", "more bytes"),
    "a storage of 2**40": (lambda: changed(b"cpuq\x06K\x04", b"cpuq\x06\x8a\x06\0\0\0\0\0\x01"), "claims 10"),
    "a storage below nothing": (lambda: changed(b"cpuq\x06K\x04", b"cpuq\x06J\xfc\xff\xff\xff"), "claims -4"),
    "a storage that is not there": (lambda: changed(b"X\x01\0\0\x000", b"X\x01\0\0\x009"), "lacks the data"),
    "a storage elsewhere": (lambda: changed(b"X\x01\0\0\x000", b"X\x05\0\0\x00../a0"), "lacks the data"),
    "a view beyond the storage": (lambda: changed(b"K\x00K\x04\x85", b"K\x01K\x04\x85"), "outside its"),
    "a view before the storage": (lambda: changed(b"K\x00K\x04\x85", b"J\xff\xff\xff\xffK\x04\x85"), "outside its"),
    "a view without an end": (lambda: changed(b"K\x04\x85q\x08K\x01", b"J\0\0\0\x7f\x85q\x08K\x00"), "outside its"),
    "sparse, out of range": (
        lambda: saved({"a": torch.sparse_coo_tensor(torch.tensor([[9]]), torch.ones(1), (5,), check_invariants=False)}),
        "torch._utils._rebuild_sparse_tensor, which is not data",
    ),
    "a memo beyond memory": (lambda: with_pickle(b"\x80\x02Nr\xff\xff\xff\xffj\xfe\xff\xff\xff."), "damaged"),
    "a text beyond memory": (lambda: with_pickle(b"\x80\x02X\xff\xff\xff\xff."), "larger than 8 MiB"),
    "an endless number": (lambda: with_pickle(b"\x80\x02\x8a\xff" + bytes(255) + b"."), "damaged"),
    "a billion laughs": (lambda: with_pickle(laughs()), "nested too deeply"),
    "a type nested deeply": (
        lambda: with_pickle(
            b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n)" + b"\x85" * 300_000 + b"RX\0\0\0\0\x86R."
        ),
        "damaged",
    ),
    "parameters whose names clash": (lambda: with_pickle(PARAMETERS + b"](K\x01K\x02\x86esb."), "damaged"),
    "a list in itself": (lambda: with_pickle(b"\x80\x02]q\x00h\x00a."), "nested too deeply"),
    "nested deeply": (lambda: with_pickle(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."), "nested too deeply"),
    "keys that clash": (lambda: with_pickle(b"\x80\x02}\x8a\x0a" + bytes([255] * 9 + [1]) + b"Ns."), "neither text"),
    "many views of one storage": (many_views, "many times larger than the file"),
    "two tensors of one name": (lambda: saved({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}), "two tensors"),
    "a name that a terminal obeys": (lambda: saved({"a\x1b[2J": torch.ones(1)}), "the invalid name"),
    "a mark as a value": (lambda: with_pickle(b"\x80\x02(\x85."), "neither a tensor"),
    "nothing on the stack": (lambda: with_pickle(b"\x80\x02."), "damaged"),
    "only the beginning of a zip": (lambda: b"PK\x03\x04" + bytes(200), "not a valid PyTorch file"),
    "big-endian": (lambda: zipped(entries(saved({})) | {"archive/byteorder": b"big"}), "byte order"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("case", HARMFUL)
def test_what_is_meant_to_do_harm_leaves_no_trace_and_is_one_sentence(
    case: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, words = HARMFUL[case]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(make())
    modules = set(sys.modules)
    with pytest.raises(ModelFileError) as raised:
        WeightsFile(path).shapes()
    said = str(raised.value)
    assert said.startswith(f"m{suffix} ") and words in said, said
    assert said.isprintable() and len(said) < 300
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert not (set(sys.modules) - modules) & {"antigravity", "webbrowser"}


def test_numbers_that_do_not_fit_their_checksum_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    numbers = struct.pack("<4f", 1, 2, 3, 4)
    path.write_bytes(saved({"a": torch.tensor([1.0, 2, 3, 4])}).replace(numbers, numbers[:-1] + b"\xff"))
    file = WeightsFile(path)
    assert file.shapes() == {"a": (4,)}
    with pytest.raises(ModelFileError, match=r"^m\.pt is damaged: its data does not match its checksum"):
        file.read(["a"], CPU, None)


ZIPPED, IN_A_ROW = saved(nested()), saved(nested(), _use_new_zipfile_serialization=False)
ENTRIES = entries(ZIPPED)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["a zip file", "its list, with the right checksum", "pickles in a row"]),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_flipped_bytes_give_a_sentence_or_a_model(kind: str, changes: list[tuple[int, int]], tmp_path: Path) -> None:
    listed = kind.startswith("its list")
    content = bytearray(ENTRIES["archive/data.pkl"] if listed else ZIPPED if kind == "a zip file" else IN_A_ROW)
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "m.ckpt"
    path.write_bytes(zipped(ENTRIES | {"archive/data.pkl": bytes(content)}) if listed else content)
    file = WeightsFile(path)
    modules = set(sys.modules)
    try:
        file.read(list(file.shapes()), CPU, None)
    except ModelFileError as error:
        assert str(error).isprintable()
    assert set(sys.modules) == modules

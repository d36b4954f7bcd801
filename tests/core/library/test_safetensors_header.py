"""A safetensors header is checked before anything in it is believed."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sdterm.core.library.tensors import MOST_TENSORS, ModelFileError
from sdterm.core.library.weights import WeightsFile


def entry(begin: int, end: int, shape: tuple[int, ...] = (2,), dtype: str = "F16", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def safetensors(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


WHOLE = {"a": entry(0, 4), "b": entry(4, 8)}
UNSOUND = {
    "nothing": (b"", "shorter"),
    "a length without a header": (struct.pack("<Q", 1 << 60), "shorter than its own header"),
    "no object": (safetensors(b"[]"), "does not begin"),
    "half an object": (safetensors(b'{"a":'), "not JSON"),
    "not UTF-8": (safetensors(b'{"\xff":1}'), "not JSON"),
    "nested for ever": (safetensors(b'{"a":' * 100_000), "not JSON"),
    "a name twice": (safetensors(b'{"a":1,"a":2}'), "two tensors named 'a'"),
    "a name twice among many": (
        safetensors(b"{" + b",".join(b'"%d":1' % i for i in range(300_000)) + b',"299999":1}'),
        "two tensors named '299999'",
    ),
    "a list as a tensor": (safetensors({"a": [1]}), "no type, shape or position"),
    "more than belongs there": (safetensors({"a": entry(0, 4, code="x")}, b"1234"), "no type, shape or position"),
    "an unknown type": (safetensors({"a": entry(0, 4, dtype="F17\x1b[2J")}, b"1234"), "that is not known"),
    "a shape of words": (safetensors({"a": entry(0, 4, ("2",))}, b"1234"), "impossible shape"),  # type: ignore[arg-type]
    "a shape of truths": (safetensors({"a": entry(0, 2, (True,))}, b"12"), "impossible shape"),
    "a shape below nothing": (safetensors({"a": entry(0, 4, (-2,))}, b"1234"), "impossible shape"),
    "a shape without bound": (safetensors({"a": entry(0, 4, (1 << 62, 1 << 62))}, b"1234"), "impossible shape"),
    "a thousand dimensions": (safetensors({"a": entry(0, 4, (1,) * 1000)}, b"1234"), "without a valid shape"),
    "2**40 numbers": (safetensors({"a": entry(0, 4, (1 << 40,))}, b"1234"), "the wrong number of bytes"),
    "an end before the begin": (safetensors({"a": entry(4, 0, (0,))}, b"1234"), "the wrong number of bytes"),
    "a begin before the file": (safetensors({"a": entry(-4, 0)}, b"1234"), "the wrong number of bytes"),
    "overlapping": (safetensors({"a": entry(0, 4), "b": entry(2, 6)}, b"123456"), "overlap"),
    "a gap": (safetensors({"a": entry(0, 4), "b": entry(6, 10)}, b"1234567890"), "a gap"),
    "a gap before the first": (safetensors({"a": entry(4, 8)}, b"12345678"), "a gap"),
    "bytes that nobody asked for": (safetensors(WHOLE, b"123456789"), "1 bytes more"),
    "cut off": (safetensors(WHOLE, b"1234567"), "It may be an incomplete download"),
    "metadata of numbers": (safetensors({"__metadata__": {"a": 1}}), "not text"),
    "metadata that are none": (safetensors({"__metadata__": []}), "not text"),
    "a name that a terminal obeys": (safetensors({"\x1b]0;x\x07": entry(0, 4)}, b"1234"), "invalid name"),
    "a name that turns a line round": (safetensors({"a\u202eb": entry(0, 4)}, b"1234"), "invalid name"),
    "half a character": (safetensors(b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), "invalid name"),
    "a name without an end": (safetensors({"a" * 5000: entry(0, 4)}, b"1234"), "invalid name"),
    "no name": (safetensors({"": entry(0, 4)}, b"1234"), "invalid name"),
    "too many": (safetensors({f"{i}": entry(0, 0, (0,)) for i in range(MOST_TENSORS + 1)}), "lists 100001 tensors"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_header_is_one_sentence(case: str, tmp_path: Path) -> None:
    content, words = UNSOUND[case]
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as raised:
        WeightsFile(path).shapes()
    said = str(raised.value)
    assert said.startswith("m.safetensors is not a valid .safetensors file: it ") and words in said
    assert said.isprintable() and len(said) < 300


def test_every_type_of_numbers_is_read_as_safetensors_reads_it(tmp_path: Path) -> None:
    ones = torch.arange(6).reshape(2, 3)
    kinds = (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64,
    )  # fmt: skip
    tensors = {str(kind): ones.to(kind) for kind in kinds} | {"empty": torch.zeros(0, 4), "one": torch.tensor(7.0)}
    save_file(tensors, tmp_path / "m.safetensors", {"format": "pt"})
    file = WeightsFile(tmp_path / "m.safetensors")
    read = file.read(list(tensors), torch.device("cpu"), None)
    assert file.metadata == {"format": "pt"}
    assert {key: (each.dtype, each.shape) for key, each in read.items()} == {
        key: (each.dtype, each.shape) for key, each in tensors.items()
    }
    tensors["one"], read["one"] = tensors["one"][None], read["one"][None]  # bits are not seen without a dimension
    assert all(torch.equal(read[key].view(torch.uint8), tensors[key].view(torch.uint8)) for key in tensors)
    half = file.read(["torch.float32"], torch.device("cpu"), torch.float16)
    assert half["torch.float32"].dtype is torch.float16


def test_what_is_read_shares_the_files_pages_and_writing_to_it_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    before = path.read_bytes()
    tensor = WeightsFile(path).read(["a"], torch.device("cpu"), torch.float32)["a"]
    tensor += 1
    assert tensor.tolist() == [1, 1, 1, 1] and path.read_bytes() == before


def test_a_file_that_changed_since_its_header_was_read_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    file = WeightsFile(path)
    assert file.shapes() == {"a": (4,)}
    path.unlink()
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match=r"m\.safetensors has changed since"):
        file.read(["a"], torch.device("cpu"), torch.float32)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_flipped_byte_gives_a_sentence_or_a_model(changes: list[tuple[int, int]], tmp_path: Path) -> None:
    content = bytearray(safetensors({**WHOLE, "__metadata__": {"name": "x"}}, b"12345678"))
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    file = WeightsFile(path)
    try:
        file.read(list(file.shapes()), torch.device("cpu"), None)
    except ModelFileError as error:
        assert str(error).isprintable()


def test_a_header_whose_length_begins_like_a_pickle_is_a_header(tmp_path: Path) -> None:
    """Its length is 0x0280 bytes, which lie in the file as 80 02: so a pickle of protocol 2 begins."""
    text = json.dumps({"a": entry(0, 4)}).encode()
    (tmp_path / "x.safetensors").write_bytes(safetensors(text.ljust(0x280), bytes(4)))
    assert WeightsFile(tmp_path / "x.safetensors").shapes() == {"a": (2,)}

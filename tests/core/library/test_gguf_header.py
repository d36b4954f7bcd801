"""The header of a GGUF file is read, and nothing in it is believed unseen."""

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from sdterm.core.library.checkpoints import CheckpointFile, ModelFileError
from sdterm.core.library.gguf_header import MAGIC

CODES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_K": (12, 256, 144), "BF16": (30, 1, 2), "new": (99, 1, 2)}
"""Type → its number, and how many numbers take how many bytes."""


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(tensors: Mapping[str, tuple[str, tuple[int, ...]]], data: bytes | None = None, version: int = 3) -> bytes:
    """A file of tensors, name → (type, shape), filled with zeros unless `data` is given."""
    said = text("general.architecture") + struct.pack("<I", 8) + text("flux")
    said += text("general.file_type") + struct.pack("<II", 4, 15)
    said += text("vocabulary") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    said += text("numbers") + struct.pack("<IIQ", 9, 4, 3) + bytes(12)
    listed, at = b"", 0
    for name, (kind, shape) in tensors.items():
        code, block, packed = CODES[kind]
        listed += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1]) + struct.pack("<IQ", code, at)
        count = 1
        for side in shape:
            count *= side
        at += -(-(count // block * packed) // 32) * 32
    head = MAGIC + struct.pack("<IQQ", version, len(tensors), 4) + said + listed
    return head + bytes(-len(head) % 32) + (bytes(at) if data is None else data)


def test_names_types_and_shapes_are_told_and_plain_numbers_are_read(tmp_path: Path) -> None:
    numbers = torch.arange(6, dtype=torch.float32)
    path = tmp_path / "a.gguf"
    path.write_bytes(
        gguf({"w": ("F32", (2, 3)), "packed": ("Q4_K", (2, 256))}, numbers.numpy().tobytes() + bytes(1000))
    )
    file = CheckpointFile(path)
    assert file.shapes() == {"w": (2, 3), "packed": (2, 256)} and file.metadata == {"general.architecture": "flux"}
    assert torch.equal(file.read(["w"], torch.device("cpu"), None)["w"], numbers.reshape(2, 3))
    with pytest.raises(ModelFileError, match="numbers of type Q4_K, which sdterm cannot read"):
        file.read(["packed"], torch.device("cpu"), None)


WHOLE = gguf({"w": ("F32", (2, 3))})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (WHOLE[:60], "ends inside its header"),
        (WHOLE[:-16], r"has \d+ bytes instead of \d+"),
        (gguf({"w": ("F32", (2, 3))}, version=9), "a version that sdterm does not support"),
        (gguf({"w": ("Q4_K", (3,))}, bytes(999)), "ends inside a block"),
        (gguf({"w": ("new", (2, 3))}), r"a number type \(99\) that is not known"),
        (MAGIC + struct.pack("<IQQ", 3, 2**60, 0), "lists 1152921504606846976 tensors"),
        (MAGIC + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62), "ends inside its header"),
        (gguf({"a\x1b[31m": ("F32", (1,))}), "the invalid name"),
    ],
)
def test_a_file_that_is_not_sound_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(
        ModelFileError, match=rf"^a\.gguf is not a valid \.gguf file: it .*{words}.*download it again\.$"
    ):
        CheckpointFile(tmp_path / "a.gguf").shapes()

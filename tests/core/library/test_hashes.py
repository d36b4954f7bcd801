"""Hashes as A1111 has them, and finding files by them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm.core.library.checkpoints import Library
from sdterm.core.names import UnknownNameError

LORAS = Path("models", "Lora")


def lora(path: Path, value: float = 0, **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"lora_unet_x.lora_up.weight": np.full(4, value, np.float16)}, path, metadata)
    return path


def test_each_kind_has_the_hash_that_a1111_writes(tmp_path: Path) -> None:
    """Of a LoRA: of what follows the header, or what its trainer wrote; of an embedding 12 digits, of others 10."""
    told = lora(tmp_path / LORAS / "told.safetensors", sshs_model_hash="c" * 64)
    plain = lora(tmp_path / LORAS / "plain.safetensors", ss_output_name="x")
    renamed = lora(tmp_path / LORAS / "renamed.safetensors", ss_output_name="another name, as long as it likes")
    (tmp_path / "embeddings").mkdir()
    for path in (tmp_path / "embeddings" / "e.pt", tmp_path / LORAS / "p.pt"):
        path.write_bytes(b"weights")
    library = Library(tmp_path)
    weights = hashlib.sha256(b"weights").hexdigest()
    assert library.short_hash(library.file("lora", "told")) == "c" * 12
    data = hashlib.sha256(plain.read_bytes()[-8:]).hexdigest()
    assert [library.short_hash(library.file("lora", p.stem)) for p in (plain, renamed)] == [data[:12]] * 2
    assert library.short_hash(library.file("lora", "p")) == weights[:12]
    assert library.short_hash(library.file("embedding", "e")) == weights[:12]
    assert told.exists() and library.sha256(plain) == hashlib.sha256(plain.read_bytes()).hexdigest()


def test_a_lora_is_found_by_its_name_then_its_makers_name_then_its_hash(tmp_path: Path) -> None:
    ink = lora(tmp_path / LORAS / "ink.safetensors", 1, ss_output_name="Water Ink", sshs_model_hash="ab" * 32)
    other = lora(tmp_path / LORAS / "in" / "other.safetensors", 2, ss_output_name="ink")
    twins = [lora(tmp_path / LORAS / f"t{n}.safetensors", n, ss_output_name="twin") for n in (3, 4)]
    library = Library(tmp_path)
    for name in ("ink", "INK", "ink.safetensors", "Water Ink", "abababababab", str(ink)):
        assert library.file("lora", name).path == ink
    for name in ("other", "in/other", "in/other.safetensors"):
        assert library.file("lora", name).path == other
    with pytest.raises(UnknownNameError, match=r"no LoRA named 'twin'.* LoRAs belong in .*Lora"):
        library.file("lora", "twin")
    digest = library.short_hash(library.file("lora", "t3"))
    assert library.file("lora", digest).path == twins[0]


def test_a_file_is_found_by_a_hash_that_nobody_computed_yet_if_reading_is_allowed(tmp_path: Path) -> None:
    path = lora(tmp_path / LORAS / "renamed.safetensors", 5)
    digest = hashlib.sha256(path.read_bytes()[-8:]).hexdigest()[:12]
    library = Library(tmp_path)
    assert library.hashed("lora", digest) is None
    found = library.hashed("lora", digest, read_at_most=2**20)
    assert found and found.path == path
    assert library.hashed("lora", digest) == found, "it is known now"


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x05" + bytes(7) + b"[1,2]", b"\x09" + bytes(7) + b'{"a":{}}'])
def test_what_is_no_safetensors_file_has_a_hash_all_the_same(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / LORAS / "x.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    library = Library(tmp_path)
    assert len(library.short_hash(library.file("lora", "x"))) == 12

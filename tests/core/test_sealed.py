"""Caches are believed to the bit or not at all."""

import json
import os
from pathlib import Path

import pytest

from sdterm.core.extensions.catalogue import load_catalogue
from sdterm.core.extensions.frozen import freeze, frozen
from sdterm.core.extensions.source import Source, digest
from sdterm.core.library.checkpoints import Library
from sdterm.core.sealed import read_sealed, write_sealed


def test_whatever_bit_is_flipped_nothing_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    content = {"names": ["Euler a", "caf\udce9"], "numbers": [1, 2.5, None]}
    write_sealed(path, content)
    assert read_sealed(path) == content
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_sealed(path) is None, place


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"null\n{}", b"\xff" * 99])
def test_what_is_no_cache_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.json").write_bytes(content)
    assert read_sealed(tmp_path / "cache.json") is None
    assert read_sealed(tmp_path / "missing.json") is None
    os.mkfifo(tmp_path / "pipe.json")
    assert read_sealed(tmp_path / "pipe.json") is None


def changed(path: Path, old: bytes, new: bytes) -> None:
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))


def test_a_hash_that_a_disk_made_another_is_computed_again(tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"a model")
    right = Library(tmp_path).sha256(model)
    changed(tmp_path / "cache" / "hashes.json", right.encode(), b"f" * 64)
    assert Library(tmp_path).known_hash(model) is None and Library(tmp_path).sha256(model) == right


@pytest.mark.heavy
def test_a_damaged_catalogue_is_exported_again(tmp_path: Path) -> None:
    right = load_catalogue(tmp_path, third_party=False)
    changed(tmp_path / "cache" / "catalogue.json", json.dumps("Euler a").encode(), b'"Fuler a"')
    assert load_catalogue(tmp_path, third_party=False) == right


def test_a_damaged_frozen_copy_is_none_and_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n")
    source = Source("mine", "extension", str(file), digest(file))
    copy = Path(freeze(tmp_path, source).location)
    copy.write_text("x = 3\n")
    assert frozen(tmp_path, "mine", source.digest) is None
    assert Path(freeze(tmp_path, source).location).read_text() == "x = 1\n"

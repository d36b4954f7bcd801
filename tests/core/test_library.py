"""Checkpoints on disk: which are found, what is cached, what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm import load_plugins
from sdterm.core.dataroot import CHECKPOINTS, EMBEDDED_MODEL
from sdterm.core.library import CheckpointFile, Library, ModelFileError
from sdterm.core.names import UnknownNameError
from sdterm.core.plan import recognise


def model(path: Path, *keys: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.zeros(1, np.float16) for key in keys or ("x",)}, path)
    return path


def test_the_chosen_file_comes_first_then_folders_then_the_demo_model(tmp_path: Path) -> None:
    b, a = model(tmp_path / CHECKPOINTS / "b.safetensors"), model(tmp_path / CHECKPOINTS / "sub" / "a.safetensors")
    more, chosen = model(tmp_path / "more" / "z.safetensors"), model(tmp_path / "c.safetensors")
    model(tmp_path / CHECKPOINTS / "b.vae.safetensors")
    library = Library(tmp_path, (tmp_path / "more",), chosen)
    assert [c.path for c in library.checkpoints()] == [chosen, more, b, a, EMBEDDED_MODEL]
    assert library.find(None).path == chosen
    assert Library(tmp_path / "empty").find(None).embedded


def test_a_linked_folder_is_looked_into_and_a_loop_does_not_hang(tmp_path: Path) -> None:
    far = model(tmp_path / "disk" / "far.safetensors")
    folder = tmp_path / "data" / CHECKPOINTS
    folder.mkdir(parents=True)
    (folder / "linked").symlink_to(far.parent)
    (folder / "loop").symlink_to(folder)
    assert [c.name for c in Library(tmp_path / "data").checkpoints()] == ["far", "sdterm-demo"]


def test_a_checkpoint_is_found_by_name_file_path_and_hash_in_any_case(tmp_path: Path) -> None:
    path = model(tmp_path / CHECKPOINTS / "My-Model.safetensors")
    library = Library(tmp_path)
    sha256 = library.sha256(path)
    for name in ("My-Model", "my model", "MY-MODEL.safetensors", str(path), sha256[:10], sha256):
        assert library.find(name).path == path
    with pytest.raises(UnknownNameError, match="'My-Model'"):
        library.find("my-modle")


def test_a_hash_is_computed_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = model(tmp_path / "m.safetensors", "a")
    library = Library(tmp_path)
    assert library.known_hash(path) is None
    first = library.sha256(path)
    cache = tmp_path / "cache" / "hashes.json"
    cache.write_text(cache.read_text().replace(first, "f" * 64))
    assert library.sha256(path) == "f" * 64, "served from the cache"
    status = path.stat()
    model(path, "b")  # another content of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert library.sha256(path) not in (first, "f" * 64)
    cache.write_text("{ broken")
    assert len(library.sha256(path)) == 64 and json.loads(cache.read_text())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no sound"),
        (b"\0" * 64, "no sound"),
        (b"\xff" * 64, "no sound"),
        (b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,18]}}', "no sound"),
    ],
)
def test_a_damaged_or_lying_file_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=words) as raised:
        CheckpointFile(tmp_path / "m.safetensors").shapes()
    assert "m.safetensors" in str(raised.value) and "\n" not in str(raised.value)


def test_a_truncated_file_is_told_from_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(EMBEDDED_MODEL.read_bytes()[:2_000_000])
    with pytest.raises(ModelFileError, match="unfinished download"):
        CheckpointFile(path).shapes()


def test_a_folder_a_missing_file_and_a_ckpt_are_one_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "d.safetensors").mkdir()
    for name in ("d.safetensors", "missing.safetensors"):
        with pytest.raises(ModelFileError, match=name):
            CheckpointFile(tmp_path / name).shapes()
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02cos\nsystem\n")
    with pytest.raises(ModelFileError, match="run code"):
        CheckpointFile(tmp_path / "old.ckpt").shapes()


def test_a_file_of_no_family_is_refused_with_the_families_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"x\.safetensors.*SD 1\.x"):
        recognise(CheckpointFile(model(tmp_path / "x.safetensors")), load_plugins())

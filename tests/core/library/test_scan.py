"""Which files of a folder are models of a kind."""

import time
from pathlib import Path

import pytest

from sdterm.core.library.checkpoints import Library
from sdterm.core.library.scan import scan


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(kind: str, *places: Path) -> list[str]:
    return [file.relative_name for file in scan(kind, places)]


def test_each_kind_has_its_suffixes_and_files_below_are_named_by_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a.safetensors", "in/b.CKPT", "c.pt", "d.txt", "e.vae.safetensors", "f.json")
    assert names("checkpoint", tmp_path) == ["a.safetensors", "in/b.CKPT"]
    assert names("lora", tmp_path) == ["a.safetensors", "c.pt", "e.vae.safetensors", "in/b.CKPT"]


def test_a_picture_is_an_embedding_only_where_it_is_of_no_file_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "hands.pt", "hands.png", "hands.preview.png", "face.png", "sky.preview.webp")
    assert names("embedding", tmp_path) == ["face.png", "hands.pt"]


def test_a_preview_and_the_user_metadata_beside_a_file_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.safetensors", "a.png", "a.preview.png", "a.json", "b.safetensors", "b.jpeg", "c.safetensors")
    a, b, c = scan("lora", [tmp_path])
    assert (a.preview, a.notes) == (str(tmp_path / "a.preview.png"), str(tmp_path / "a.json"))
    assert (b.preview, b.notes) == (str(tmp_path / "b.jpeg"), None)
    assert (c.preview, c.notes) == (None, None)


def test_a_diffusers_folder_is_one_checkpoint_and_its_parts_are_none(tmp_path: Path) -> None:
    touch(tmp_path, "x.5/model_index.json", "x.5/unet/m.safetensors", "x.5/vae/m.safetensors", "y.safetensors")
    assert names("checkpoint", tmp_path) == ["x.5", "y.safetensors"]
    assert [file.name for file in scan("checkpoint", [tmp_path])] == ["x.5", "y"]
    assert names("vae", tmp_path) == ["y.safetensors"]


def test_vaes_lie_in_their_folder_and_beside_checkpoints(tmp_path: Path) -> None:
    touch(tmp_path / "models", "VAE/a.pt", "Stable-diffusion/m.vae.safetensors", "Stable-diffusion/m.safetensors")
    assert [file.file_name for file in Library(tmp_path).files("vae")] == ["a.pt", "m.vae.safetensors"]


def test_links_in_a_circle_and_to_nowhere_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.safetensors")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.safetensors").symlink_to(tmp_path / "self.safetensors")
    (tmp_path / "nowhere.safetensors").symlink_to(tmp_path / "missing")
    assert names("lora", tmp_path, tmp_path / "missing", tmp_path) == ["a.safetensors"]


@pytest.mark.heavy
def test_ten_thousand_files_are_found_and_read_in_seconds_and_again_in_no_time(tmp_path: Path) -> None:
    """The limits are those of the benchmark, several times over: this machine may be busy."""
    header = b'{"__metadata__":{"ss_output_name":"ink"}}'
    for number in range(10_000):
        folder = tmp_path / "models" / "Lora" / str(number % 20)
        if number < 20:
            folder.mkdir(parents=True)
        (folder / f"{number}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    library = Library(tmp_path)
    began = time.perf_counter()
    files = library.files("lora")
    library.known(files)
    first = time.perf_counter() - began
    began = time.perf_counter()
    assert library.files("lora") == files and len(files) == 10_000
    assert library.known(files)[-1]["header"] == {"alias": "ink"}
    assert first < 20 and time.perf_counter() - began < 2

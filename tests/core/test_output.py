"""Files appear whole or not at all, and never in place of another."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from sdterm.core.naming import NameFacts
from sdterm.core.output import OutputFolderError, ready, save_images, write_atomically, write_new
from sdterm.events import Done, Failed, Image
from tests.cli.conftest import environment

FACTS = NameFacts(
    prompt="cat", sampler="Euler", scheduler="Karras", steps=20, cfg_scale=7.0, model="m", model_hash="abc",
    when=datetime(2026, 1, 2),
)  # fmt: skip


def image(index: int, data: bytes = b"picture") -> Image:
    return Image(index=index, seed=5 + index, width=8, height=8, infotext="cat", suffix=".png", data=data)


def test_images_are_numbered_on_from_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "00041-7.png").write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine")
    first, second, done = save_images([image(0), image(1), Done(images=2, seconds=1)], tmp_path, "[seed]", FACTS)
    assert isinstance(first, Image) and first.path == str(tmp_path / "00042-5.png")
    assert isinstance(second, Image) and second.path == str(tmp_path / "00043-6.png")
    assert isinstance(done, Done) and (tmp_path / "00041-7.png").read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_a_taken_name_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"first")
    assert write_new(tmp_path, ["a", "b"], ".png", b"second").name == "b.png"
    assert (tmp_path / "a.png").read_bytes() == b"first"
    with pytest.raises(FileExistsError):
        write_new(tmp_path, ["a", "b"], ".png", b"third")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_dangling_link_counts_as_taken(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere")
    assert write_new(tmp_path, ["a", "b"], ".png", b"x").name == "b.png"
    assert not (tmp_path / "elsewhere").exists()


def test_settings_and_caches_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "x.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="--out"):
        ready(tmp_path / "file" / "below")
    (failed,) = save_images([image(0), image(1)], tmp_path / "file", "[seed]", FACTS)
    assert isinstance(failed, Failed) and failed.code == "output_unwritable"


WRITE = """
import sys
from pathlib import Path
from sdterm.core.output import write_new
for i in range(100):
    write_new(Path(sys.argv[1]), (f"{n:05d}" for n in range(10_000)), ".png", sys.argv[2].encode() * 1000)
"""


def test_two_processes_at_once_take_different_names(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), letter], env=environment()) for letter in "ab"
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    contents = [path.read_bytes() for path in tmp_path.glob("*.png")]
    assert sorted(contents) == [b"a" * 1000] * 100 + [b"b" * 1000] * 100


def test_a_killed_writer_leaves_no_partial_picture(tmp_path: Path) -> None:
    large = WRITE.replace("* 1000", "* 50_000_000")
    writer = subprocess.Popen([sys.executable, "-c", large, str(tmp_path), "a"], env=environment())
    while not list(tmp_path.glob(".*.tmp")):
        assert writer.poll() is None
    writer.kill()
    writer.wait(timeout=60)
    assert all(path.stat().st_size == 50_000_000 for path in tmp_path.glob("*.png"))

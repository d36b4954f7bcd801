"""Files appear whole or not at all, and never in place of another."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from sdterm.core.naming import NameFacts
from sdterm.core.output import OutputFolderError, ready, save_images, write_atomically, write_new
from sdterm.events import Done, Failed, Image
from tests.cli.conftest import environment
from tests.core.conftest import Obedient

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


def test_a_missing_folder_is_made_and_tried(tmp_path: Path) -> None:
    ready(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


SAVE = """
import sys
from pathlib import Path
from sdterm.core.output import OutputFolderError, ready, save_images
from tests.core.test_output import FACTS, image
folder = Path(sys.argv[1])
try:
    ready(folder)
except OutputFolderError as error:
    print("not ready:", error.strerror)
for event in save_images([image(n, bytes(15_000)) for n in range(3)], folder, "[seed]", FACTS):
    print(event.model_dump_json())
print(*sorted(f"{path.name}:{path.stat().st_size}" for path in folder.iterdir()))
"""


def test_a_folder_one_may_not_write_to_is_found_out_before_and_during_a_run(tmp_path: Path, obedient: Obedient) -> None:
    tmp_path.chmod(0o555)
    try:
        before, during, _ = obedient(SAVE, tmp_path).split("\n", 2)
    finally:
        tmp_path.chmod(0o755)
    assert before == (
        f"not ready: Images cannot be saved in {tmp_path}: Permission denied. "
        "Choose a folder you may write to with --out."
    )
    assert json.loads(during)["code"] == "output_unwritable"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a user namespace")
def test_a_full_disk_ends_a_run_with_what_fits_saved_whole(tmp_path: Path) -> None:
    """A tmpfs of 40 KB in a mount namespace of its own: two pictures of 15 KB fit."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o size=40k none "$1" && "$2" -c "$3" "$1"'
    arguments = ["sh", str(tmp_path), sys.executable, SAVE]
    done = subprocess.run([*command, script, *arguments], capture_output=True, text=True, env=environment(), timeout=60)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    *saved, failed, files = done.stdout.splitlines()
    assert [json.loads(event)["event"] for event in saved] == ["image", "image"]
    assert json.loads(failed)["code"] == "disk_full" and "Free some space" in json.loads(failed)["advice"]
    assert files == "00000-5.png:15000 00001-6.png:15000"


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

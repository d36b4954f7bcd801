"""Files appear whole or not at all, and never in place of another."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from errno import EPERM
from pathlib import Path

import pytest

from sdterm.core.files import write_atomically, write_new
from sdterm.core.output.naming import PatternError
from sdterm.core.output.saving import OutputFolderError, Saving, ready, save_images
from sdterm.events import SIDE_KINDS, AnyPicture, Done, Event, Failed, Grid, Image, SideImage, Started
from sdterm.request import GenerationRequest
from tests.cli.conftest import environment
from tests.core.conftest import Obedient

STARTED = Started(
    model="m", model_hash="abc", sampler="Euler", scheduler="Karras", seed=5, width=8, height=8, images=3
)  # fmt: skip
REQUEST = GenerationRequest(prompt="cat", batch_size=3)
GRID = Grid(width=24, height=8, infotext="cat\nSteps: 1", suffix=".png", data=b"grid")


def image(index: int, data: bytes = b"picture") -> Image:
    return Image(index=index, seed=5 + index, width=8, height=8, infotext="cat", suffix=".png", data=data)


def save(events: Sequence[Event], saving: Saving) -> list[Event]:
    """What comes out behind `started`."""
    started, *rest = save_images([STARTED, *events], REQUEST, saving)
    assert started == STARTED
    return rest


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_images_are_numbered_on_from_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "00041-7.png").write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine")
    first, second, done = save([image(0), image(1), Done(images=2, seconds=1)], Saving(tmp_path))
    assert isinstance(first, Image) and first.path == str(tmp_path / "00042-5.png")
    assert isinstance(second, Image) and second.path == str(tmp_path / "00043-6.png")
    assert isinstance(done, Done) and (tmp_path / "00041-7.png").read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_a_grid_has_its_own_numbers_and_lies_with_the_images(tmp_path: Path) -> None:
    (tmp_path / "x" / "m").mkdir(parents=True)
    (tmp_path / "x" / "m" / "grid-0009.jpg").write_bytes(b"old")
    saved = save([image(0), image(1), GRID], Saving(tmp_path, directory_pattern="x/[model_name]"))
    assert [Path(event.path or "").name for event in saved if isinstance(event, Image | Grid)] == [
        "00000-5.png", "00001-6.png", "grid-0010.png",
    ]  # fmt: skip
    assert names(tmp_path / "x" / "m") == ["00000-5.png", "00001-6.png", "grid-0009.jpg", "grid-0010.png"]


def test_what_comes_with_an_image_is_named_as_a1111_does_and_lies_beside_it(tmp_path: Path) -> None:
    facts = image(1).model_dump(exclude={"event", "kind"}) | {"data": b"side"}
    sides = [SideImage(**facts, kind=kind) for kind in SIDE_KINDS]
    last = tmp_path / "params.txt"
    saved = save([*sides, image(1)], Saving(tmp_path / "out", last_infotext=last))
    assert [Path(event.path or "").name for event in saved if isinstance(event, AnyPicture)] == [
        "00000-6-before-highres-fix.png", "00001-6-mask.png", "00002-6-mask-composite.png", "00003-6.png",
    ]  # fmt: skip
    save([*sides, image(1)], Saving(tmp_path / "plain", add_number=False))
    assert names(tmp_path / "plain") == [
        "6-before-highres-fix.png", "6-mask-composite.png", "6-mask.png", "6.png",
    ]  # fmt: skip
    assert not last.exists(), "its text is that of a job's first image"


def test_patterns_name_files_and_folders(tmp_path: Path) -> None:
    today = date.today()
    saving = Saving(tmp_path, "[prompt_words]-[seed]", "[date]/[seed]", add_number=False)
    save([image(0), image(0), image(1)], saving)
    (day,) = tmp_path.iterdir()
    assert today.isoformat() <= day.name <= date.today().isoformat()
    assert (names(day / "5"), names(day / "6")) == (["empty-5-1.png", "empty-5.png"], ["empty-6.png"])


@pytest.mark.parametrize("patterns", [("[sede]", ""), ("[seed]", "[number]")])
def test_a_pattern_that_cannot_be_used_is_found_out_before_a_run(patterns: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(PatternError):
        Saving(tmp_path, *patterns)


def test_an_infotext_lies_beside_its_picture_under_the_same_name(tmp_path: Path) -> None:
    """As A1111's save_txt: the text and a line end. A name is free only if it is for both."""
    (tmp_path / "5.txt").write_text("mine")
    saving = Saving(tmp_path, save_txt=True, add_number=False)
    save([image(0), image(1), GRID], saving)
    assert names(tmp_path) == ["5-1.png", "5-1.txt", "5.txt", "6.png", "6.txt", "grid-0000.png", "grid-0000.txt"]
    assert (tmp_path / "6.txt").read_bytes() == b"cat\n"
    assert (tmp_path / "grid-0000.txt").read_text() == "cat\nSteps: 1\n"
    assert (tmp_path / "5.txt").read_text() == "mine"


def test_a_format_that_is_text_itself_has_no_second_text(tmp_path: Path) -> None:
    save([image(0).model_copy(update={"suffix": ".txt"})], Saving(tmp_path, save_txt=True))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"picture"]


def test_the_last_infotext_is_kept_and_where_that_fails_the_pictures_are_saved_all_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "params.txt"
    save([image(0), image(1).model_copy(update={"infotext": "second"})], Saving(tmp_path, last_infotext=kept))
    assert kept.read_bytes() == b"cat"
    save([image(0).model_copy(update={"infotext": "later ✓\ud800"})], Saving(tmp_path, last_infotext=kept))
    assert kept.read_text(encoding="utf-8") == "later ✓?"
    (saved,) = save([image(0)], Saving(tmp_path, last_infotext=kept / "below"))
    assert isinstance(saved, Image) and saved.path


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


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_files_of_one_name_appear_together_or_not_at_all(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as on a memory card

        def refuse(*paths: Path) -> None:
            raise OSError(EPERM, "no hard links here")

        monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a.txt").write_bytes(b"taken")
    assert write_new(tmp_path, ["a", "b"], ".png", b"picture", {".txt": b"text"}) == tmp_path / "b.png"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.txt": b"taken", "b.png": b"picture", "b.txt": b"text",
    }  # fmt: skip


def test_settings_and_caches_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "x.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_others_may_not_write_what_is_saved_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save([image(0)], Saving(tmp_path, save_txt=True, last_infotext=tmp_path / "params.txt"))
    finally:
        os.umask(before)
    assert {path.suffix: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {".png": 0o644, ".txt": 0o644}


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="--out"):
        ready(tmp_path / "file" / "below")
    (failed,) = save([image(0), image(1)], Saving(tmp_path / "file"))
    assert isinstance(failed, Failed) and failed.code == "output_unwritable"
    (tmp_path / "Euler").write_text("")
    (failed,) = save([image(0)], Saving(tmp_path, directory_pattern="[sampler]/[date]"))
    assert isinstance(failed, Failed) and failed.code == "output_unwritable"


def test_a_missing_folder_is_made_and_tried(tmp_path: Path) -> None:
    ready(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


SAVE = """
import sys
from pathlib import Path
from sdterm.core.output.saving import OutputFolderError, Saving, ready, save_images
from tests.core.output.test_saving import GRID, REQUEST, STARTED, image
folder, sizes, save_txt = Path(sys.argv[1]), eval(sys.argv[2]), len(sys.argv) > 3
try:
    ready(folder)
except OutputFolderError as error:
    print("not ready:", error.strerror)
*images, grid = [image(n, bytes(size)) for n, size in enumerate(sizes)]
run = [STARTED, *images, GRID.model_copy(update={"data": grid.data})]
for event in list(save_images(run, REQUEST, Saving(folder, save_txt=save_txt)))[1:]:
    print(event.model_dump_json())
print(*sorted(f"{path.name}:{path.stat().st_size}" for path in folder.iterdir()))
"""


def test_a_folder_one_may_not_write_to_is_found_out_before_and_during_a_run(tmp_path: Path, obedient: Obedient) -> None:
    tmp_path.chmod(0o555)
    try:
        before, during, _ = obedient(SAVE, tmp_path, "[9, 9]").split("\n", 2)
    finally:
        tmp_path.chmod(0o755)
    assert before == (
        f"not ready: Images cannot be saved in {tmp_path}: Permission denied. "
        "Choose a folder that you can write to: setting outdir, or --out."
    )
    assert json.loads(during)["code"] == "output_unwritable"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a user namespace")
@pytest.mark.parametrize(
    ("sizes", "text", "events", "left"),
    [
        ([15_000, 15_000, 15_000, 1], [], ["image", "image", "failed"], "00000-5.png:15000 00001-6.png:15000"),
        ([15_000, 15_000, 15_000], [], ["image", "image", "failed"], "00000-5.png:15000 00001-6.png:15000"),
        ([15_000, 20_480, 1], ["text"], ["image", "failed"], "00000-5.png:15000 00000-5.txt:4"),
    ],
    ids=["picture", "grid", "text beside"],
)
def test_a_full_disk_ends_a_run_with_what_fits_saved_whole(
    sizes: list[int], text: list[str], events: list[str], left: str, tmp_path: Path
) -> None:
    """A tmpfs of 40 KB, ten pages, in a mount namespace of its own: two pictures of four pages fit; one with a text of
    one page does, and of the next only the picture would."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o size=40k none "$1" && p="$2" c="$3" && shift 3 && "$p" -c "$c" "$@"'
    arguments = ["sh", str(tmp_path), sys.executable, SAVE, str(tmp_path), str(sizes), *text]
    done = subprocess.run([*command, script, *arguments], capture_output=True, text=True, env=environment(), timeout=60)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    *saved, failed, files = done.stdout.splitlines()
    assert [json.loads(event)["event"] for event in (*saved, failed)] == events
    assert json.loads(failed)["code"] == "disk_full" and "Free some space" in json.loads(failed)["advice"]
    assert files == left


WRITE = """
import sys
from pathlib import Path
from sdterm.core.output.saving import write_new
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


def test_what_a_killed_process_left_of_a_file_is_deleted_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    left, held, other = (tmp_path / f".sdterm-{name}.tmp" for name in ("left", "held", "new"))
    for path in (left, held, other):
        path.write_bytes(b"half")
    for path in (left, held):
        os.utime(path, (1, 1))
    os.mkfifo(tmp_path / ".sdterm-fifo.tmp")
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        write_atomically(tmp_path / "settings", b"whole")
    assert not left.exists() and held.exists() and other.exists()
    assert (tmp_path / "settings").read_bytes() == b"whole"

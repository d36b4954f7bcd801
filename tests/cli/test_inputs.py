"""`--init`, `--mask` and `sdterm img2img`: pictures that drawing starts from."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdterm.core.infotext.files import read_infotext, read_pixels
from tests.cli.conftest import Run
from tests.core.test_inputs import png

QUICK = ("--size", "64x64", "--steps", "2", "--seed", "5")


def picture(path: Path, colour: str = "red") -> Path:
    image = Image.new("RGB", (64, 64), colour)
    image.paste("white", (16, 16, 48, 48))
    image.save(path)
    return path


def drawn(done: "subprocess.CompletedProcess[str]") -> Path:
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.mark.heavy
def test_a_file_a_gallery_picture_and_standard_input_start_the_same_picture(sdterm: Run, tmp_path: Path) -> None:
    file = picture(tmp_path / "red.png")
    first = drawn(sdterm("generate", "a lake", *QUICK, "--init", str(file), "--denoising", "0.5"))
    said = read_infotext(first) or ""
    assert "Denoising strength: 0.5" in said and "set.init_images" in said

    number = json.loads(sdterm("gallery", "--limit", "1", "--json").stdout)["id"]
    from_gallery = drawn(sdterm("generate", "a lake", *QUICK, "--init", f"#{number}", "--denoising", "0.5"))
    as_file = drawn(sdterm("generate", "a lake", *QUICK, "--init", str(first), "--denoising", "0.5"))
    assert np.array_equal(read_pixels(from_gallery), read_pixels(as_file))
    assert not np.array_equal(read_pixels(from_gallery), read_pixels(first))

    with file.open() as stream:
        piped = sdterm("generate", "a lake", *QUICK, "--init", "-", "--denoising", "0.5", stdin=stream)
    assert np.array_equal(read_pixels(drawn(piped)), read_pixels(first))

    again = drawn(sdterm("generate", "--from", str(first)))
    assert np.array_equal(read_pixels(again), read_pixels(first)), "its source is known"


def test_outside_the_mask_nothing_changes(sdterm: Run, tmp_path: Path) -> None:
    file, mask = picture(tmp_path / "red.png"), tmp_path / "mask.png"
    Image.new("L", (64, 64)).save(mask)
    black = drawn(sdterm("generate", "a lake", *QUICK, "--init", str(file), "--mask", str(mask)))
    assert np.array_equal(read_pixels(black), read_pixels(file))


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--init", "nothing.png"), "--init nothing.png cannot be used. nothing.png cannot be read: No such file"),
        (("--init", "page.png"), "page.png is not an image that sdterm can read: PNG, JPEG"),
        (("--init", "pipe.png"), "pipe.png cannot be read"),
        (("--init", "."), ". cannot be read"),
        (("--init", "#999999"), "--init #999999 cannot be used. There is no image 999999."),
        (("--init", "#1", "--local"), "remove --local"),
        (("--init", "large.png"), "large.png has too many pixels; the limit is 67,108,864."),
        (("--init", "-", "--mask", "-"), "Standard input can be read once only, but it is --init and --mask."),
        (("--init", "-"), "--init - cannot be used. The file is empty."),
        (("--mask", "red.png"), "no init image"),
    ],
)
def test_what_cannot_be_started_from_is_a_sentence(
    sdterm: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    picture(tmp_path / "red.png")
    (tmp_path / "page.png").write_text("<!doctype html>")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(png(60_000, 60_000))
    done = sdterm("generate", "a lake", *QUICK, *options, cwd=tmp_path)
    assert done.returncode and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""


def test_the_pictures_of_a_folder_are_drawn_in_order_and_keep_their_names(sdterm: Run, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    for name, colour in (("b10.png", "red"), ("b2.webp", "blue"), ("a [1].jpg", "green")):
        picture(folder / name, colour)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "deeper").mkdir()
    out = tmp_path / "out"
    done = sdterm("img2img", str(folder), "a lake", *QUICK, "--denoising", "0.3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.splitlines()] == ["a (1).png", "b2.png", "b10.png"]
    assert f"Skipped: {folder}/notes.txt is not an image" in done.stderr and "hidden" not in done.stderr
    assert [line for line in done.stderr.splitlines() if " of 3: " in line] == [
        "1 of 3: a [1].jpg", "2 of 3: b2.webp", "3 of 3: b10.png",
    ]  # fmt: skip
    means = [read_pixels(out / name).mean((0, 1)).argmax() for name in ("a (1).png", "b2.png", "b10.png")]
    assert means == [1, 2, 0], "each began with its own picture"

    jobs = sdterm("img2img", str(folder), *QUICK, "--out", str(out), "--detach").stdout.split()
    assert len(jobs) == 3 and sorted(map(int, jobs)) == [*map(int, jobs)]
    for job in jobs:
        assert sdterm("attach", job).returncode == 0
    assert (out / "b2-1.png").is_file(), "nothing is replaced"


def test_a_folder_without_pictures_is_told(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    done = sdterm("img2img", str(tmp_path), "a lake")
    assert done.returncode == 2 and "has no image that can be read" in done.stderr

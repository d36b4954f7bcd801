"""`sdterm upscale`: files and pictures of the gallery in, larger ones out."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import network_files
from tests.cli.conftest import Run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.jpg"
    pixels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_files_and_pictures_of_the_gallery_become_larger(sdterm: Run, data: Path, photo: Path, tmp_path: Path) -> None:
    network_files.write_upscalers(data)
    done = sdterm("upscale", str(photo), str(photo), "--upscaler", "rrdb-x2", "--scale", "2", "--out", str(tmp_path))
    paths = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [Image.open(path).size for path in paths] == [(80, 48)] * 2
    assert "Postprocess upscale by: 2.0, Postprocess upscaler: rrdb-x2" in done.stderr
    number = json.loads(sdterm("gallery", "rrdb-x2", "--limit", "1", "--json").stdout)["id"]
    more = sdterm("upscale", f"#{number}", "--to", "100x100", "--crop", "--second", "lanczos", "--json")
    events = [json.loads(line) for line in more.stdout.splitlines()]
    assert [event["event"] for event in events][-1] == "done"
    (image,) = [event for event in events if event["event"] == "image"]
    assert (image["width"], image["height"]) == (100, 100)
    assert image["infotext"].endswith("Postprocess upscaler: Lanczos, Postprocess upscaler 2: Lanczos")
    shown = sdterm("info", f"#{number}")
    assert "Postprocess upscaler: rrdb-x2" in shown.stdout, shown.stderr
    assert "There is no image 999999." in sdterm("info", "#999999").stderr


def test_it_needs_no_host(sdterm: Run, photo: Path, tmp_path: Path) -> None:
    asked = ("upscale", str(photo), "--upscaler", "nearest", "--scale", "2", "--format", "webp")
    done = sdterm(*asked, "--local", "--out", str(tmp_path))
    (path,) = done.stdout.splitlines()
    assert Image.open(path).size == (80, 48) and path.endswith(".webp")


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--upscaler", "Lanczoss"), "no upscaler named 'Lanczoss'. Did you mean 'Lanczos'?"),
        (("--scale", "0"), "upscale_by is 0.0, but it must be a number from 0.05 to 64"),
        (("--scale", "2", "--to", "8x8"), "--scale and --to cannot both be given"),
        (("--crop",), "--crop needs a size to cut to"),
        (("--to", "big"), "--to is 'big', but it must be width x height"),
        (("--visibility", "2"), "second_upscaler_visibility is 2.0, but it must be a number from 0 to 1"),
        (("--local", "--detach"), "--detach needs the host"),
        (("#1", "--local"), "#1 is an image of the gallery, which the host has"),
        (("missing.png",), "missing.png cannot be read: No such file or directory"),
        (("#999999",), "There is no image 999999."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], said: str, sdterm: Run, photo: Path) -> None:
    done = sdterm("upscale", str(photo), *arguments)
    assert done.returncode and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


@pytest.mark.parametrize("local", [("--local",), ()], ids=["local", "host"])
def test_a_file_that_is_no_picture_is_named(local: tuple[str, ...], sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    os.mkfifo(tmp_path / "pipe.png")
    piped = sdterm("upscale", str(tmp_path / "pipe.png"), *local)
    assert piped.returncode and "pipe.png cannot be used." in piped.stderr, "nobody ever writes into it"
    done = sdterm("upscale", str(tmp_path / "text.png"), *local)
    assert done.returncode and "text.png cannot be used." in done.stderr and "is not an image" in done.stderr

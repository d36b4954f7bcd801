"""`sdterm generate --from`, `info` and `verify`: what was drawn can be drawn again, and said to be the same or not."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sdterm.core.infotext.files import read_infotext
from tests.cli.conftest import Run

GOLDEN = Path(__file__).parents[1] / "golden"
QUICK = ("--size", "64x64", "--steps", "2", "--seed", "5")


@pytest.fixture(scope="module")
def drawn(sdterm: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small picture, the second of a batch."""
    folder = tmp_path_factory.mktemp("drawn")
    done = sdterm("generate", "red circle # a comment", "--batch", "2", *QUICK, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / "00001-6.png"


def altered(path: Path, drawn: Path, **replaced: str) -> Path:
    """A copy of a picture with one pixel changed, and words of its infotext."""
    text = read_infotext(drawn) or ""
    for before, after in replaced.items():
        text = text.replace(before, after)
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    with Image.open(drawn) as image:
        red, green, blue = image.getpixel((3, 4))  # type: ignore[misc]
        image.putpixel((3, 4), (red ^ 4, green, blue))
        image.save(path, pnginfo=info)
    return path


@pytest.mark.heavy
def test_a_picture_of_a_batch_is_verified_as_identical(sdterm: Run, drawn: Path) -> None:
    done = sdterm("verify", str(drawn))
    assert (done.returncode, done.stdout) == (0, "identical: all 4,096 pixels are the same\n"), done.stderr


@pytest.mark.heavy
def test_an_altered_picture_is_measured_beside_what_changed_since(sdterm: Run, drawn: Path, tmp_path: Path) -> None:
    path = altered(
        tmp_path / "x.png", drawn, **{"torch=2": "torch=1", "Version: ": "Face restoration: CodeFormer, Version: "}
    )
    done = sdterm("verify", str(path), "--json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["identical"], said["pixels"], said["differing"], said["largest"]) == (False, 4096, 1, [4, 0, 0])
    assert said["psnr"] == pytest.approx(10 * np.log10(255**2 * 4096 * 3 / 4**2), abs=0.01)
    assert said["notes"][0] == "These parameters cannot be reproduced: Face restoration."
    assert said["notes"][1].startswith("torch: 1.") and said["notes"][1].endswith(" now")


@pytest.mark.heavy
def test_a_jpeg_drawn_from_a_png_is_encoded_again_to_be_verified(sdterm: Run, drawn: Path, tmp_path: Path) -> None:
    done = sdterm("generate", "--from", str(drawn), "--format", "jpeg", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.jpg")
    assert path.stem.endswith("-6")
    assert np.asarray(Image.open(path)).shape == (64, 64, 3)
    done = sdterm("verify", str(path))
    assert done.returncode == 0 and done.stdout.startswith("identical"), done.stderr


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no infotext"),
        (
            "x\nSteps: 2, Sampler: Euler, Seed: 5, Model hash: 0123456789, Model: \x1b[31mgone",
            "[0123456789] is missing",
        ),
    ],
)
def test_what_cannot_be_drawn_again_is_one_sentence_and_exit_code_2(
    sdterm: Run, tmp_path: Path, text: str | None, words: str
) -> None:
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text("parameters", text)
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png", pnginfo=info)
    done = sdterm("verify", str(tmp_path / "x.png"))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr


def test_a_pasted_infotext_is_drawn_with_what_the_command_line_says_otherwise(
    sdterm: Run, data: Path, tmp_path: Path
) -> None:
    data.mkdir(parents=True, exist_ok=True)
    (data / "styles.csv").write_text("name,prompt,negative_prompt\nsoft,soft light,harsh\n")
    text = (
        "a house, soft light\nNegative prompt: harsh\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, "
        "CFG scale: 6.5, Seed: 7, Size: 64x64, Model hash: d230c9cccc, Model: sdterm-demo, Clip skip: 2, Eta: 0.5, "
        "Denoising strength: 0.5, Hires upscale: 2, Mystery: yes, Version: v1.9.4"
    )
    done = sdterm("generate", "a cat", "--from", "-", "--steps", "2", "--json", "--out", str(tmp_path), stdin=text)
    (data / "styles.csv").unlink()
    assert done.returncode == 0, done.stderr
    events = {event["event"]: event for event in map(json.loads, done.stdout.splitlines())}
    assert events["warning"]["message"] == "These parameters cannot be reproduced: Mystery."
    assert events["warning"]["code"] == "not_reproduced"
    drawn = events["image"]["infotext"]
    assert drawn.startswith(
        "a cat, soft light\nNegative prompt: harsh\nSteps: 2, Sampler: Euler a, Schedule type: Auto"
    )
    assert "CFG scale: 6.5, Seed: 7, Size: 64x64" in drawn and "Clip skip: 2, RNG: NV" in drawn
    assert "Denoising strength: 0.5" in drawn and "Hires upscale: 2" in drawn and "Eta: 0.5, Mystery: yes" in drawn


@pytest.mark.heavy
def test_a_picture_drawn_from_another_is_verified_from_that_or_asks_for_it(
    sdterm: Run, data: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    done = sdterm("generate", "a lake", *QUICK, "--init", str(tmp_path / "red.png"), "--out", str(tmp_path), "--local")
    assert done.returncode == 0, done.stderr
    (drawn,) = tmp_path.glob("*-5.png")
    assert sdterm("verify", str(drawn)).stdout == "identical: all 4,096 pixels are the same\n"
    for kept in (data / "inputs").iterdir():
        kept.unlink()
    asked = sdterm("verify", str(drawn))
    assert asked.returncode == 2 and "an init image that is missing here. Provide it with --init FILE." in asked.stderr
    given = sdterm("verify", str(drawn), "--init", str(tmp_path / "red.png"))
    assert given.stdout == "identical: all 4,096 pixels are the same\n", given.stderr


def test_a_golden_infotext_draws_a1111s_picture_from_the_command_line(sdterm: Run, tmp_path: Path) -> None:
    case = next(case for case in json.loads((GOLDEN / "demo_cases.json").read_text()) if case["id"] == "dev08")
    (tmp_path / "it.txt").write_text(case["infotext"])
    done = sdterm("generate", "--from", str(tmp_path / "it.txt"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    ours = np.asarray(Image.open(done.stdout.strip())).astype(float)
    error = np.mean((ours - np.load(GOLDEN / "demo_images.npz")["dev08"]) ** 2)
    assert error < 255**2 / 10**4.5  # 45 dB


def test_info_tells_what_would_not_be_reproduced(sdterm: Run, tmp_path: Path) -> None:
    size = "Steps: 2, Sampler: Euler, Seed: 5, Size: 64x64"
    text = f"x\n{size}, Face restoration: CodeFormer, Model: g\x1b[0mone, RNG: CPU, Odd: 1"
    (tmp_path / "x.txt").write_text(text)
    done = sdterm("info", str(tmp_path / "x.txt"))
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-2] == "These parameters cannot be reproduced: Face restoration, Odd."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate"], "no PROMPT"),
        (["generate", "--from", "/etc/hostname"], "the image is damaged"),
        (["generate", "-", "--from", "-"], "Standard input"),
    ],
)
def test_a_source_that_is_none_is_one_sentence(sdterm: Run, arguments: list[str], words: str) -> None:
    done = sdterm(*arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stdout == "" and len(done.stderr.strip().splitlines()) == 1

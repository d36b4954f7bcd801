"""`sdterm interrogate`: the prompt that is there, or what a model says, or what is missing."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.cli.conftest import Run
from tests.plugins.test_interrogators import write_tagger


def test_a_picture_is_described_by_its_infotext_or_by_a_model(sdterm: Run, data: Path, tmp_path: Path) -> None:
    said, plain = PngInfo(), tmp_path / "plain.png"
    said.add_text("parameters", "a lake,\nred house\nNegative prompt: rain\nSteps: 3, Sampler: Euler, Seed: 5")
    Image.new("RGB", (40, 30), (9, 90, 9)).save(tmp_path / "said.png", pnginfo=said)
    Image.new("RGB", (40, 30), (9, 90, 9)).save(plain)
    known = sdterm("interrogate", str(tmp_path / "said.png"))
    assert (known.returncode, known.stdout) == (0, "a lake,\nred house\n")
    unknown = sdterm("interrogate", str(plain))
    assert unknown.returncode == 1 and str(data / "models" / "BLIP") in unknown.stderr and not unknown.stdout
    write_tagger(data / "models" / "interrogators" / "tagger")
    assert sdterm("interrogate", str(plain)).stdout == "lake, red house\n"
    assert sdterm("interrogate", str(tmp_path / "said.png"), "--look").stdout == "lake, red house\n"
    wrong = sdterm("interrogate", str(plain), "--interrogator", "tagz")
    assert wrong.returncode and "no interrogator named 'tagz'. Did you mean 'Tags'" in wrong.stderr
    missing = sdterm("interrogate", str(tmp_path / "nothing.png"))
    assert missing.returncode and "nothing.png" in missing.stderr and "Traceback" not in missing.stderr

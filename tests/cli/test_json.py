"""What `--json` prints can be read by programs and does nothing to a terminal, whatever it quotes."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.cli.conftest import REPOSITORY, Run

HOSTILE = "\x9b31mred\x7f \u202eevil\u2066 \u2028line \U000e0041tag é 日本 👩\u200d🚀"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which everything is called so."""
    root = tmp_path_factory.mktemp("hostile")
    models = root / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    (models / f"{HOSTILE}.safetensors").write_bytes(b"no model")
    extension = root / "extensions" / HOSTILE
    extension.mkdir(parents=True)
    (extension / "__init__.py").write_text("raise ValueError('no good')")
    chunk = PngInfo()
    chunk.add_itxt("parameters", f"{HOSTILE}\nSteps: 4, Sampler: {HOSTILE}, Seed: 1, Size: 64x64")
    Image.new("RGB", (64, 64)).save(root / "picture.png", pnginfo=chunk)
    return root


@pytest.mark.parametrize("words", ["models", "ext list", "info {root}/picture.png", "prompt {hostile}"])
def test_no_command_prints_what_a_terminal_would_obey(words: str, hostile: Path, sdterm: Run) -> None:
    arguments = [word.format(root=hostile, hostile=HOSTILE) for word in words.split()]
    printed = sdterm(*arguments, "--json", SDTERM_DATA=str(hostile)).stdout
    assert not list(obeyed(printed))
    assert HOSTILE in texts(json.loads(printed))


def obeyed(printed: str) -> Iterator[str]:
    for character in printed.replace("\n", ""):
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character != "\u200d":
            yield character


def texts(value: object) -> str:
    """All strings in it."""
    match value:
        case dict():
            return "\n".join(texts(part) for item in value.items() for part in item)
        case list():
            return "\n".join(map(texts, value))
    return str(value)


def test_every_command_prints_json_in_that_one_way() -> None:
    for path in (REPOSITORY / "sdterm" / "cli").rglob("*.py"):
        if path.name != "print_json.py":
            assert not re.search(r"click\.echo\(.*dump", path.read_text(encoding="utf-8")), path.name

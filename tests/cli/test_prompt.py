"""`sdterm prompt`, as a user runs it."""

import json
import os
from pathlib import Path

from tests.cli.conftest import Run


def test_a_prompt_is_shown_with_its_steps_weights_tokens_and_traps(sdterm: Run) -> None:
    done = sdterm("prompt", "a [cat:dog:0.5], (red:1.2) house BREAK sea 16:9", "--steps", "10")
    assert done.returncode == 0 and done.stderr == ""
    for words in (
        'steps 1-6: "a cat, (red:1.2) house BREAK sea 16"  (5/75 + 3/75 tokens)',
        'steps 7-10: "a dog,',
        '1.2    "red"',
        "1:46: 9 is read as the weight of the whole prompt",
        "instead: :\\9",
    ):
        assert words in done.stdout
    shown = done.stdout.splitlines()
    caret = next(i for i, line in enumerate(shown) if line.strip() == "^^")
    assert shown[caret - 1][shown[caret].index("^^") :] == ":9"


def test_a_caret_stands_below_wide_characters(sdterm: Run) -> None:
    shown = sdterm("prompt", "日本 (x").stdout.splitlines()
    caret = next(line for line in shown if line.strip() == "^")
    assert caret.index("^") == len("    ") + 2 * len("日本") + len(" ")


def test_networks_and_embeddings_are_known_by_their_files(sdterm: Run, data: Path) -> None:
    for file in ("models/Lora/deep/smoke.safetensors", "models/hypernetworks/anime.pt", "embeddings/bad-hands.pt"):
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).touch()
    try:
        text = "<lora:smoke:1> <lora:fog> <hypernet:anime> house"
        done = sdterm("prompt", text, "--negative", "Bad-Hands <lora:smoke:1>", "--json")
    finally:
        for file in ("models/Lora/deep/smoke.safetensors", "models/hypernetworks/anime.pt", "embeddings/bad-hands.pt"):
            (data / file).unlink()
    report = json.loads(done.stdout)
    (found,) = report["prompt"]["lint"]
    assert text[slice(*found["span"])] == "<lora:fog>" and "no lora named 'fog'" in found["message"]
    (variant,) = report["negative_prompt"]["parts"][0]["schedule"]
    assert variant["embeddings"] == ["bad-hands"]
    assert [found["fix"] for found in report["negative_prompt"]["lint"]] == [""]


def test_a_hostile_prompt_from_standard_input_harms_no_terminal(sdterm: Run) -> None:
    done = sdterm("prompt", "-", stdin="\x1b[31m((\x07 <lora:\x1b]0;x:1>\n[a|\x9b2J" + "([" * 30_000)
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout)
    assert len(done.stdout) < 100_000
    done = sdterm("prompt", os.fsdecode(b"a \xff [b"))
    assert done.returncode == 0 and "1:5: `[` is never closed" in done.stdout


def test_an_unknown_sampler_is_refused_with_a_sentence(sdterm: Run) -> None:
    done = sdterm("prompt", "a", "--sampler", "Eular")
    assert done.returncode == 2 and "Did you mean 'Euler'" in done.stderr

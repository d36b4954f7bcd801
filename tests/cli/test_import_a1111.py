"""`sdterm import-a1111`: settings, flags and styles of an installation, with a report."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

USER_SH = """#!/bin/bash
# export COMMANDLINE_ARGS="--no-half"
#install_dir="/home/$(whoami)"
export COMMANDLINE_ARGS="--xformers --medvram --api --lora-dir own/loras --lyco-dir-backcompat=lyco --controlnet-dir cn"
export TORCH_COMMAND="pip install torch==1.12.1"
"""
USER_BAT = """@echo off
set PYTHON=
rem set COMMANDLINE_ARGS=--listen
set COMMANDLINE_ARGS=--ckpt-dir "D:\\my models" --theme dark
call webui.bat
"""
CONFIG = {
    "samples_format": "jpg",
    "samples_filename_pattern": "[model_name]-[seed]",
    "CLIP_stop_at_last_layers": 2,
    "sd_model_checkpoint": "in/anything-v3.ckpt [812cd9f9d9]",
    "sd_vae": "vae-ft-mse.safetensors",
    "eta_noise_seed_delta": 31337,
    "quicksettings_list": ["sd_model_checkpoint", "CLIP_stop_at_last_layers"],
    "grid_save": True,
    "s_churn": 0.0,
    "extension_key": {"a": 1},
    "randn_source": "tape",
    "localization": "None",
    "cross_attention_optimization": "sdp-no-mem - scaled dot product without memory efficient attention",
    "token_merging_ratio": 0.3,
    "gradio_theme": "gradio/soft",
}
WIDGETS = {
    "txt2img/Sampling method/value": "Euler a",
    "customscript/sampler.py/txt2img/Sampling steps/value": 30,
    "txt2img/CFG Scale/value": 7,
    "img2img/CFG Scale/value": 11,
    "txt2img/CFG Scale/maximum": 30.0,
}


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    folder = tmp_path / "webui"
    (folder / "models" / "Lora").mkdir(parents=True)
    (folder / "models" / "Lora" / "ink.safetensors").touch()
    (folder / "webui-user.sh").write_text(USER_SH)
    (folder / "webui-user.bat").write_text(USER_BAT)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "ui-config.json").write_text(json.dumps(WIDGETS))
    (folder / "styles.csv").write_bytes(
        '\ufeffname,prompt,negative_prompt\r\nnight,"{prompt}, dark",sun\r\nmine,b,c\r\n'.encode()
    )
    return folder


def rows(done: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_an_installation_is_taken_over_with_a_report(sdterm: Run, webui: Path, tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "styles.csv").write_text("name,prompt,negative_prompt\nmine,my own,")
    dry = rows(sdterm("import-a1111", str(webui), "--dry-run", "--json", *data))
    assert not (tmp_path / "data" / "config.toml").exists()
    told = rows(sdterm("import-a1111", str(webui), "--json", *data))
    assert told == dry
    taken = {name: row["becomes"] for name, row in told.items() if not row["reason"]}
    assert (taken["CLIP_stop_at_last_layers"], taken["eta_noise_seed_delta"]) == (2, 31337)
    assert (taken["samples_format"], taken["sd_model_checkpoint"]) == ("jpg", "in/anything-v3.ckpt")
    assert {"grid_save", "s_churn", "localization", "txt2img/CFG Scale/value"} & {*told} == set(), "as in A1111"
    reasons = {name: row["reason"] for name, row in told.items() if row["reason"]}
    assert taken["--medvram"] is False and "no such flag" in reasons["--controlnet-dir"]
    assert "no such setting" in reasons["extension_key"] and "tape" in reasons["randn_source"]
    assert "Windows" in reasons["--ckpt-dir"]
    assert "color themes" in reasons["--theme"] and "color themes" in reasons["gradio_theme"]
    assert "Python" in reasons["TORCH_COMMAND"] and "--no-half" not in told and "--listen" not in told

    config = tomllib.loads((tmp_path / "data" / "config.toml").read_text())
    assert config["a1111_dir"] == str(webui) and config["api"] is True and config["steps"] == 30
    assert config["lora_dirs"] == [str(webui / "own/loras"), str(webui / "lyco")]
    assert config["memory"][:3] == ["xformers", "component-offload", "sdpa-no-mem"]
    assert config["memory"][3:] == ["token_merging", "token_merging.ratio=0.3"] and config["sampler"] == "Euler a"
    assert config["quicksettings_list"] == CONFIG["quicksettings_list"]
    styles = (tmp_path / "data" / "styles.csv").read_text()
    assert "my own" in styles and '"{prompt}, dark",sun' in styles and "mine,b" not in styles
    assert [row["name"] for row in json.loads(sdterm("models", "--kind", "lora", "--json", *data).stdout)] == ["ink"]

    (tmp_path / "data" / "config.toml").write_text("steps = 12\n")
    again = rows(sdterm("import-a1111", str(webui), "--json", *data))
    assert (
        "config.toml has steps already, as 12"
        in again["customscript/sampler.py/txt2img/Sampling steps/value"]["reason"]
    )
    assert again["styles"]["value"] == "0 new"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{ broken", "not valid JSON"),
        ("ui-config.json", "[" * 100_000, "not valid JSON"),
        ("webui-user.sh", 'export COMMANDLINE_ARGS="--ckpt \'x"', "cannot be split"),
        ("webui-user.sh", "export COMMANDLINE_ARGS=$(rm -rf /)", "has no such flag"),
        ("webui-user.sh", 'export COMMANDLINE_ARGS="--ckpt-dir $HOME/x --port lots"', "a shell variable"),
        ("styles.csv", "name,prompt\n\xff", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(
    file: str, content: str, words: str, sdterm: Run, webui: Path, tmp_path: Path
) -> None:
    (webui / file).write_bytes(content.encode("latin-1"))
    done = sdterm("import-a1111", str(webui), "--data-dir", str(tmp_path / "data"))
    assert words in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_is_no_installation_is_refused(sdterm: Run, tmp_path: Path) -> None:
    done = sdterm("import-a1111", str(tmp_path / "nothing"))
    assert done.returncode == 1 and "is not an A1111 installation" in done.stderr and len(done.stderr.splitlines()) == 1

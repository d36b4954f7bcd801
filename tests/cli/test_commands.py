"""The commands that tell: models, samplers, plugins, flags, doctor, completion, help."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from safetensors.numpy import save

from sdterm.cli import COMMANDS
from sdterm.core.settings.flags import FLAGS
from sdterm.core.settings.settings import SETTINGS
from tests.cli.conftest import Run, environment


@pytest.mark.heavy
def test_samplers_lists_samplers_and_schedules_with_their_options(sdterm: Run) -> None:
    shown = sdterm("samplers").stdout
    for words in (
        "Euler a",
        "DPM++ 2M",
        "Automatic schedule: Karras",
        "has its own schedule",
        "Exponential",
        "rho=0.0",
    ):
        assert words in shown
    assert sdterm("samplers", "--model", "sdterm-demo").stdout == shown, "all of them are for diffusion models"
    unknown = sdterm("samplers", "--model", "sdterm-dem")
    assert unknown.returncode != 0 and "sdterm-demo" in unknown.stderr and "Traceback" not in unknown.stderr
    assert {"Euler", "DDIM", "Karras"} <= {offer["label"] for offer in json.loads(sdterm("samplers", "--json").stdout)}


def test_plugins_shows_where_each_comes_from_and_what_is_wrong(sdterm: Run, tmp_path: Path) -> None:
    broken = tmp_path / "extensions" / "broken.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("x = 1\nraise RuntimeError('half \\x1b[31m written')\n")
    shown = sdterm("plugins", "--data-dir", str(tmp_path)).stdout
    assert "broken" in shown and "half" in shown and "broken.py:2" in shown and "\x1b" not in shown
    assert "SD 1.x" in shown and "built-in" in shown and "--set lossless=False  Keep every pixel" in shown


def test_an_extension_that_ends_its_process_harms_nobody_who_lists_without_it(sdterm: Run, tmp_path: Path) -> None:
    deadly = tmp_path / "extensions" / "deadly.py"
    deadly.parent.mkdir(parents=True)
    deadly.write_text("import os\nos._exit(3)\n")
    assert sdterm("samplers", "--data-dir", str(tmp_path)).returncode == 1
    assert "Euler" in sdterm("samplers", "--disable-all-extensions", "--data-dir", str(tmp_path)).stdout


def test_models_lists_usable_and_refused_checkpoints(sdterm: Run, data: Path) -> None:
    folder = data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "old.ckpt").write_bytes(b"\x80\x02")
    try:
        rows = {row["name"]: row for row in json.loads(sdterm("models", "--json").stdout)}
    finally:
        (folder / "old.ckpt").unlink()
    assert rows["sdterm-demo"]["usable"] and "128x128" in rows["sdterm-demo"]["note"]
    assert not rows["old"]["usable"] and ".ckpt" in rows["old"]["note"]


def test_why_a_model_is_refused_is_told_to_its_end(sdterm: Run, tmp_path: Path) -> None:
    name = "a-long-name-" * 8
    folder = tmp_path / "models" / "Stable-diffusion" / name / "transformer"
    folder.mkdir(parents=True)
    index = {"_class_name": "ZImagePipeline", "transformer": ["diffusers", "ZImageTransformer2DModel"]}
    (folder.parent / "model_index.json").write_text(json.dumps(index))
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 100)
    shown = sdterm("models", SDTERM_DATA=str(tmp_path)).stdout
    (line,) = (each for each in shown.splitlines() if name in each)
    assert line.endswith("download it again.") and f"{name}/transformer/diffusion_pytorch_model.safetensors" in line


def test_models_lists_other_kinds_and_where_each_is_looked_for(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ink.safetensors").touch()
    (tmp_path / "own" / "ink.json").write_text('{"sd version": "SDXL", "activation text": "inkpunk"}')
    flags = ("--lora-dir", str(tmp_path / "own"), "--lyco-dir-backcompat", str(tmp_path / "lyco"))
    (row,) = json.loads(sdterm("models", "--kind", "lora", "--json", *flags).stdout)
    assert (row["kind"], row["name"], row["note"]) == ("lora", "ink", "SDXL, inkpunk")
    shown = sdterm("models", "--folders", *flags).stdout
    assert "LoRAs: 1\n" in shown and f"{tmp_path / 'lyco'}  (not there)" in shown
    none = sdterm("models", "--kind", "upscaler")
    assert none.returncode == 0 and "There is none. Upscalers go to " in none.stderr
    broken = sdterm("models", "--extra-model-paths-config", str(tmp_path / "missing.yaml"))
    assert "missing.yaml cannot be read, so its folders are not searched" in broken.stderr


def test_doctor_names_what_it_looked_at_and_is_content_here(sdterm: Run, data: Path) -> None:
    checks = {check["name"]: check for check in json.loads(sdterm("doctor", "--json").stdout)}
    for name in (
        "Python",
        "torch",
        "diffusers",
        "transformers",
        "xformers",
        "Memory",
        "Data folder",
        "Checkpoints",
        "Plugins",
    ):
        assert name in checks, name
    assert str(data) in checks["Data folder"]["finding"]
    assert "demo model" in checks["Checkpoints"]["finding"] and checks["Checkpoints"]["fix"]


def test_doctor_repairs_folders_and_leftovers(sdterm: Run, data: Path) -> None:
    leftover = data / "outputs" / "2020-01-01" / ".sdterm-0123456789abcdef.tmp"
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_bytes(b"half")
    (data / "embeddings").rmdir() if (data / "embeddings").is_dir() else None
    assert "doctor --repair" in sdterm("doctor").stdout
    done = sdterm("doctor", "--repair")
    assert not leftover.exists() and (data / "embeddings").is_dir()
    assert "unfinished" not in done.stdout


def test_doctor_speaks_the_users_language_and_programs_english(sdterm: Run) -> None:
    shown = sdterm("doctor", SDTERM_LANGUAGE="ja").stdout
    found = [re.match(r"([✓•✗] \S.*?  +)(\S.*)", line) for line in shown.splitlines()]
    findings = {each[1][2:].strip(): each[2] for each in found if each}
    assert "使用可能" in findings["メモリ"] and "デモモデル" in findings["チェックポイント"]
    assert len({cell_len(each[1]) for each in found if each}) == 1, "findings stand below each other"
    accented = sdterm("doctor", SDTERM_LANGUAGE="pseudo").stdout
    assert not [word for word in ("installed", "available", "free", "demo model", "loaded") if word in accented]
    assert sdterm("doctor", "--json", SDTERM_LANGUAGE="ja").stdout.isascii()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(sdterm: Run, shell: str) -> None:
    assert "_SDTERM_COMPLETE" in sdterm("completion", shell).stdout


@pytest.mark.heavy
def test_help_shows_commands_first_then_our_own_flags_and_says_where_a1111s_are(sdterm: Run) -> None:
    shown = sdterm("--help").stdout
    at = [shown.index(f"\n  {command} ") for command in COMMANDS]
    assert at == sorted(at) and at[-1] < shown.index("\nOptions:") < shown.index("--data-dir")
    assert all((flag.name in shown.split("\nOptions:")[1]) == (flag.status == "ours") for flag in FLAGS)
    assert "`sdterm flags`" in shown and "Exit codes" in shown and sdterm().stdout == shown
    assert len(shown.splitlines()) < 100
    assert shown.startswith("Usage: sdterm ")
    for command in COMMANDS:
        assert sdterm(command, "--help").returncode == 0


def test_help_speaks_the_users_language_in_lines_that_fit(sdterm: Run) -> None:
    from sdterm.cli.ext import COMMANDS as OF_EXT

    for words, commands in (([], COMMANDS), (["ext"], OF_EXT)):
        english, accented = (sdterm(*words, "--help", SDTERM_LANGUAGE=name).stdout for name in ("en", "pseudo"))
        for command in commands:
            (line,) = (line for line in english.splitlines() if line.startswith(f"  {command} "))
            assert line not in accented and f"\n  {command} " in accented, command
        assert not [word for word in ("Usage", "Options", "Exit codes", "Show this") if word in accented]
    shown = sdterm("--help", SDTERM_LANGUAGE="ja").stdout
    assert "使い方：" in shown and "\nオプション:" in shown and max(map(cell_len, shown.splitlines())) <= 80
    generate = sdterm("generate", "--help", SDTERM_LANGUAGE="ja").stdout
    assert "サンプリングのステップ数。 [20]" in generate and "繰り返し指定できます。" in generate


def test_a_group_without_a_command_shows_its_help_in_lines(sdterm: Run) -> None:
    shown = sdterm("token")
    assert shown.returncode == 2
    assert shown.stderr.startswith("Usage: sdterm token ") and "\n  revoke " in shown.stderr


def test_help_of_a_command_has_its_own_options_under_headings(sdterm: Run) -> None:
    shown = sdterm("generate", "--help").stdout
    headings = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Image:", "img2img and inpainting:", "Hires fix:", "Refiner:", "Upscale:", "Options:"]
    assert "--medvram" not in shown and "`sdterm flags`" in shown
    assert shown.index("--steps") < shown.index("--hires-scale") < shown.index("--json")


def test_every_flag_answers_and_changes_only_settings_that_exist(sdterm: Run) -> None:
    keys = {setting.key for setting in SETTINGS}
    for flag in FLAGS:
        assert flag.sentence.endswith(".") or flag.status in ("ours", "mapped"), flag.name
        if flag.change:
            value = {"flag": True, "value": flag.example, "values": ("all",), "optional": flag.example}[flag.arity]
            assert set(flag.change(value)) <= keys, flag.name
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    shown = sdterm("flags").stdout
    assert all(flag.name in shown for flag in FLAGS)


def test_a_password_that_others_try_first_is_named_wherever_it_comes_from(sdterm: Run, tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("me:qwerty\nann:correct horse battery\n")
    here = {"SDTERM_DATA": str(tmp_path), "SDTERM_LANGUAGE": "de"}
    weak = "Das Passwort von me ist leicht zu erraten."
    for flag, value in (("--gradio-auth", "me:qwerty"), ("--api-auth", "me:qwerty"), ("--gradio-auth-path", str(file))):
        for told in (sdterm(flag, value, "flags", **here), sdterm("flags", COMMANDLINE_ARGS=f"{flag} {value}", **here)):
            assert told.returncode == 0 and told.stderr.count(weak) == 1, told.stderr
            assert "qwerty" not in told.stderr + told.stdout and "ann" not in told.stderr
    file.write_text("ann:correct horse battery\n")
    assert not sdterm("--gradio-auth-path", str(file), "flags", **here).stderr
    file.unlink()
    refused = sdterm("--gradio-auth-path", str(file), "flags", **here)
    assert refused.returncode != 0 and "Traceback" not in refused.stderr


def test_flags_that_save_memory_join_and_the_strongest_of_a_kind_wins(sdterm: Run) -> None:
    """In whatever order they are typed, as A1111 has it."""
    arguments = "--lowvram --xformers --opt-sdp-attention --medvram --always-batch-cond-uncond --no-half-vae"
    shown = sdterm("flags", COMMANDLINE_ARGS=arguments).stdout
    for name in arguments.split():
        said = shown[shown.index(f"  {name} ") :].split("\n  --")[0]
        assert "Now: on, by COMMANDLINE_ARGS" in said and "Costs: " in said, name
    assert "Now: " not in shown[shown.index("  --no-half ") :].split("\n  --")[0]
    given = {flag.name: flag for flag in FLAGS}
    order = [given[name].change for name in ("--opt-sdp-attention", "--xformers", "--medvram", "--lowvram")]
    assert sorted(order, key=[flag.change for flag in FLAGS].index) == order


def test_doctor_names_what_each_flag_became(sdterm: Run) -> None:
    arguments = "--medvram --sub-quad-q-chunk-size 512 --ngrok-region eu --no-such-flag --port 7861"
    done = sdterm("doctor", "--json", COMMANDLINE_ARGS=arguments, IGNORE_CMD_ARGS_ERRORS="1")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["--medvram"]["status"] == "ok"
    assert "memory = component-offload, batch_cond_uncond = false" in checks["--medvram"]["finding"]
    assert "sub-quadratic.q_chunk=512" in checks["--sub-quad-q-chunk-size"]["finding"]
    assert checks["--ngrok-region"]["status"] == "note" and "tunnel" in checks["--ngrok-region"]["finding"]
    assert "no such flag" in checks["--no-such-flag"]["finding"] and "port = 7861" in checks["--port"]["finding"]


def test_keys_without_a_terminal_says_so_and_ends(sdterm: Run) -> None:
    done = sdterm("keys")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: This shows what a terminal sends") and len(done.stderr.splitlines()) == 1
    assert "generate" in sdterm("keys", "--list").stdout


@pytest.mark.heavy
def test_help_and_listing_load_no_torch(data: Path) -> None:
    """In one process: what was imported is what a user waits for."""
    shown = [[], ["--help"], ["generate", "--help"], ["samplers"], ["models"], ["doctor"], ["plugins"], ["prompt", "a"]]
    script = (
        f"import sys\nfrom sdterm.cli import main\nfor words in {shown!r}:\n"
        " sys.argv[1:] = words\n try:\n  main()\n except SystemExit:\n  pass\n"
        " heavy = {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
        " if heavy: sys.exit(f'{words}: {heavy}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(SDTERM_DATA=str(data)),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_locale_lists_languages_with_their_files_and_what_is_wrong_with_them(sdterm: Run, data: Path) -> None:
    for pack, content in (("good", '{"Seed": "Xeed"}'), ("bad", "{")):
        (data / "extensions" / pack / "localizations").mkdir(parents=True)
        (data / "extensions" / pack / "localizations" / "xx_YY.json").write_text(content)
    shown = sdterm("locale", "list").stdout
    assert "zh_CN\n" in shown and "1 texts" in shown and "xx_YY.json cannot be read" in shown
    listed = json.loads(sdterm("locale", "list", "--json").stdout)["xx_YY"]
    assert [(file["texts"], bool(file["fault"])) for file in listed] == [(0, True), (1, False)]
    assert "xx_YY" not in json.loads(sdterm("locale", "list", "--json", "--disable-all-extensions").stdout)


@pytest.mark.heavy
def test_a_model_is_added_where_its_header_says(sdterm: Run, tmp_path: Path) -> None:
    content = save({"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": np.zeros((4, 4), np.float16)})
    (tmp_path / "mine.safetensors").write_bytes(content)
    asked = sdterm("models", "add", str(tmp_path / "mine.safetensors"))
    assert asked.returncode == 2 and "mine.safetensors: LoRA, " in asked.stderr and "Licence: not known" in asked.stderr
    assert "--yes adds it without asking" in asked.stderr
    added = sdterm("models", "add", str(tmp_path / "mine.safetensors"), "--as", "added.safetensors", "--yes")
    assert added.returncode == 0, added.stderr
    (path,) = added.stdout.splitlines()
    assert path.endswith("models/Lora/added.safetensors") and Path(path).read_bytes() == content
    assert "done       added.safetensors" in sdterm("models", "downloads").stdout
    again = sdterm("models", "add", str(tmp_path / "mine.safetensors"), "--as", "added.safetensors", "--yes")
    assert again.returncode == 2 and "added.safetensors already exists" in again.stderr and "--as" in again.stderr
    left = sdterm("models", "add", str(tmp_path / "mine.safetensors"), "--without", "transformer")
    assert left.returncode == 2 and "--without is for a diffusers folder of Hugging Face" in left.stderr
    secret = sdterm("models", "add", "https://example.org/m.safetensors?token=abcdef", "--yes")
    assert secret.returncode == 2 and "abcdef" not in secret.stderr

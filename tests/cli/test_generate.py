"""`sdterm generate` in pipes, as JSON, interrupted, and given nonsense."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sdterm.core.infotext.files import read_infotext
from sdterm.engine.tape import read_header
from tests.cli.conftest import Run, environment

QUICK = ("--size", "64x64", "--steps", "2")


def test_a_prompt_becomes_a_picture_whose_path_is_printed(sdterm: Run, tmp_path: Path) -> None:
    data = tmp_path / "my new dätä"
    command = ("generate", "--local", "red house, snow", *QUICK, "--seed", "5", "--batch", "2")
    done = sdterm(*command, SDTERM_DATA=str(data))
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert all(path.parent.parent == data / "outputs" for path in paths)
    assert [path.name for path in paths] == ["00000-5.png", "00001-6.png", "grid-0000.png"]
    assert [Image.open(path).size for path in paths] == [(64, 64), (64, 64), (128, 64)]
    assert read_infotext(paths[2]) == read_infotext(paths[0]) == (data / "params.txt").read_text(encoding="utf-8")
    assert (read_infotext(paths[1]) or "").startswith("red house, snow\nSteps: 2, Sampler: DPM++ 2M, Schedule type: ")
    assert "demo model" in done.stderr and "Time taken" in done.stderr and "Resident" in done.stderr


@pytest.mark.heavy
def test_an_empty_prompt_is_a_prompt_and_its_picture_is_drawn_again(sdterm: Run, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    assert sdterm("generate", "", *QUICK, "--seed", "5", "--out", str(first)).returncode == 0
    (picture,) = first.iterdir()
    assert (read_infotext(picture) or "").startswith("Steps: 2, Sampler: ")
    done = sdterm("generate", "--from", str(picture), "--out", str(again))
    assert done.returncode == 0, done.stderr
    (other,) = again.iterdir()
    assert other.read_bytes() == picture.read_bytes()


@pytest.mark.heavy
def test_a_grid_that_is_set_off_is_not_made(sdterm: Run, tmp_path: Path) -> None:
    for number, name in enumerate(("grid", "save_grid")):
        out = tmp_path / str(number)
        done = sdterm("generate", "a", *QUICK, "--batch", "2", "--set", f"{name}=false", "--out", str(out))
        assert done.returncode == 0 and len(list(out.iterdir())) == 2, done.stderr


@pytest.mark.heavy
def test_the_demo_notice_is_given_once(sdterm: Run) -> None:
    sdterm("generate", "cat", *QUICK)
    assert "demo model" not in sdterm("generate", "cat", *QUICK).stderr


@pytest.mark.parametrize("where", [["--local"], []], ids=["here", "by the host"])
def test_json_gives_the_event_stream_one_object_a_line(sdterm: Run, tmp_path: Path, where: list[str]) -> None:
    folder = tmp_path / "new" / "folder"
    done = sdterm("generate", "-", *QUICK, *where, "--json", "--out", str(folder), stdin="a cat 🐈\n")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events if event["event"] not in ("queued", "model_loading")]
    assert names == ["started", "step", "step", "image", "done"]
    image = events[-2]
    assert image["infotext"].startswith("a cat 🐈\nSteps: 2") and "data" not in image
    assert Path(image["path"]).parent == folder
    assert done.stderr == ""


def test_jpeg_keeps_the_infotext_and_info_shows_it(sdterm: Run, tmp_path: Path) -> None:
    options = (
        "--format",
        "jpeg",
        "--out",
        str(tmp_path),
        "--negative",
        "nïght",
        "--sampler",
        "euler A",
        "--clip-skip",
        "2",
    )
    sdterm("generate", "sea, “sun”", *QUICK, *options)
    (path,) = tmp_path.glob("*.jpg")
    shown = json.loads(sdterm("info", str(path), "--json").stdout)
    assert (shown["prompt"], shown["negative_prompt"]) == ("sea, “sun”", "nïght")
    assert shown["parameters"]["Sampler"] == "Euler a" and shown["parameters"]["Clip skip"] == "2"


@pytest.mark.heavy
def test_what_is_set_by_name_reaches_the_picture(sdterm: Run, tmp_path: Path) -> None:
    options = ("--seed", "5", "--sampler", "Euler a", "--set", "Eta=0", "--ensd", "31337", "--out", str(tmp_path))
    varied = ("--variation-seed", "9", "--variation-strength", "0.5", "--seed-resize-from", "128x96")
    done = sdterm("generate", "red house", *QUICK, *options, *varied, "--json", "--tape", str(tmp_path / "tape"))
    assert done.returncode == 0, done.stderr
    request = (read_header(tmp_path / "tape") or {})["request"]
    assert request["sampler_options"] == {"eta": 0.0}
    assert (request["variation_seed"], request["variation_strength"], request["ensd"]) == (9, 0.5, 31337)
    assert (request["seed_resize_width"], request["seed_resize_height"]) == (128, 96)


@pytest.mark.few(14)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "x" * 100_000], ["prompt", "100,000", "65,536"]),
        (["generate", "red \x1b[31mhouse"], ["prompt", "U+001B", "position 4"]),
        (["generate", "x", "--negative", "\x07"], ["negative_prompt", "U+0007"]),
        (["generate", "x", "--steps", "0"], ["steps", "'0'", "1 to 1000"]),
        (["generate", "x", "--steps", "1000000"], ["steps", "1 to 1000"]),
        (["generate", "x", "--steps", "many"], ["steps", "'many'", "1 to 1000"]),
        (["generate", "x", "--cfg", "nan"], ["cfg_scale", "0 to 100"]),
        (["generate", "x", "--seed", "1" * 30], ["seed", "from -922"]),
        (["generate", "x", "--size", "100x64"], ["width", "'100'", "multiple of 8", "64 to 4096"]),
        (["generate", "x", "--size", "64x999999"], ["height", "64 to 4096"]),
        (["generate", "x", "--size", "big"], ["--size", "'big'", "512x768"]),
        (["generate", "x", "--batch", "0"], ["batch_size", "1 to 64"]),
        (["generate", "x", "--count", "-1"], ["batch_count", "1 to 1000"]),
        (["generate", "x", "--clip-skip", "99"], ["clip_skip", "1 to 12"]),
        (["generate", "x", "--sampler", "Eulr"], ["sampler", "'Eulr'", "'Euler'"]),
        (["generate", "x", "--scheduler", "karas"], ["scheduler", "'Karras'"]),
        (["generate", "x", "--model", "sdtrem"], ["model", "'sdterm-demo'"]),
        (["generate", "x", "--format", "pngg"], ["format", "'PNG'"]),
        (["generate", "x", "--optimize", "xformer"], ["optimizer", "'xFormers'"]),
        (["generate", "x", "--local", "--ckpt", "/does/not/exist.safetensors"], ["exist.safetensors", "No such file"]),
        (["generate", "x", "--noise", "TPU"], ["noise_source", "NV, CPU"]),
        (
            ["generate", "x", "--set", "etta=1", "--sampler", "Euler a"],
            ["'etta'", "'eta'", "Euler a has eta", "ngms"],
        ),
        (["generate", "x", "--set", "eta=lots", "--sampler", "Euler a"], ["Euler a", "eta", "'lots'", "0.0 to 1.0"]),
        (["generate", "x", "--seed-resize-from", "64"], ["--seed-resize-from", "'64'"]),
        (["genrate", "x"], ["command", "'generate'"]),
        (["generate", "x", "--stpes", "3"], ["--stpes", "--steps"]),
        (["info", "/does/not/exist.png"], ["exist.png", "No such file"]),
        (["info", "/etc/hostname"], ["hostname", "the image is damaged"]),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_drawn(sdterm: Run, arguments: list[str], words: list[str]) -> None:
    done = sdterm(*arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == "" and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr


def test_a_prompt_with_nul_on_standard_input_is_refused(sdterm: Run) -> None:
    done = sdterm("generate", "-", stdin="a\0b")
    assert done.returncode == 2 and "U+0000" in done.stderr


@pytest.mark.few(2)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 8 + b"{}", b'\x10\0\0\0\0\0\0\0{"a":{"dtype":1}}'])
def test_a_lying_model_file_is_one_sentence(sdterm: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    done = sdterm("generate", "x", "--local", "--ckpt", str(path))
    assert done.returncode == 1 and "model.safetensors" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_truncated_model_file_is_one_sentence(sdterm: Run, tmp_path: Path) -> None:
    from sdterm.core.settings.paths import EMBEDDED_MODEL

    path = tmp_path / "half.safetensors"
    path.write_bytes(EMBEDDED_MODEL.read_bytes()[:5_000_000])
    done = sdterm("generate", "x", "--local", "--ckpt", str(path))
    assert done.returncode == 1 and "incomplete download" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_found_out_before_drawing(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = sdterm("generate", "x", "--out", str(tmp_path / "file" / "below"))
    assert done.returncode == 1 and "--out" in done.stderr and len(done.stderr.splitlines()) == 1


def test_commandline_args_are_honoured_and_later_flags_answer_with_a_sentence(sdterm: Run) -> None:
    arguments = "--opt-split-attention --medvram --gradio-queue --allow-code"
    told = {
        "--medvram": "Component offload cannot be used here: on this device, weights and images share",
        "--gradio-queue": "--gradio-queue: ",
    }
    done = sdterm("generate", "cat", *QUICK, COMMANDLINE_ARGS=arguments)
    assert done.returncode == 0
    for flag, said in (told | {"--allow-code": "--allow-code: "}).items():
        assert [line for line in done.stderr.splitlines() if said in line], flag
    wrong = sdterm("generate", "cat", COMMANDLINE_ARGS="--no-such-flag")
    assert wrong.returncode == 2 and "COMMANDLINE_ARGS" in wrong.stderr and "--no-such-flag" in wrong.stderr
    lenient = sdterm("samplers", COMMANDLINE_ARGS="--no-such-flag", IGNORE_CMD_ARGS_ERRORS="1")
    assert lenient.returncode == 0


def test_xformers_that_cannot_be_used_says_why_and_draws_without(sdterm: Run) -> None:
    done = sdterm("generate", "cat", *QUICK, "--xformers")
    assert done.returncode == 0
    assert "xFormers cannot be used here: " in done.stderr and "The job continues without it" in done.stderr


def test_settings_say_where_a_bad_value_came_from(sdterm: Run, data: Path) -> None:
    assert "set by SDTERM_STEPS" in sdterm("generate", "cat", SDTERM_STEPS="lots").stderr
    config = data / "config.toml"
    try:
        config.write_text('sampler = "Euler a"\nsteps = 3\n')
        done = sdterm("generate", "cat", "--size", "64x64")
        assert "Steps: 3, Sampler: Euler a" in done.stderr
        config.write_text("stepz = 3\n")
        assert "'steps'" in sdterm("samplers").stderr
        config.write_text("= broken")
        assert "config.toml cannot be read" in sdterm("generate", "cat").stderr
    finally:
        config.unlink()


def test_settings_say_how_files_are_named_and_what_lies_beside_them(sdterm: Run, data: Path, tmp_path: Path) -> None:
    config = data / "config.toml"
    try:
        config.write_text(
            f"outdir = '{tmp_path}'\nfilename_pattern = '[prompt]'\ndirectory_pattern = '[sampler]/[width]'\n"
            "add_number = false\nsave_grid = false\nsave_txt = true\n"
        )
        options = ("--sampler", "Euler", "--format", "webp", "--batch", "2", "--no-prompt-history")
        (data / "params.txt").unlink(missing_ok=True)
        done = sdterm("generate", "../a: cat", *QUICK, *options)
        folder = tmp_path / "Euler" / "64"
        assert done.stdout.splitlines() == [str(folder / "__a__cat.webp"), str(folder / "__a__cat-1.webp")]
        assert sorted(path.suffix for path in folder.iterdir()) == [".txt", ".txt", ".webp", ".webp"]
        text = (folder / "__a__cat.txt").read_text(encoding="utf-8")
        assert text == f"{read_infotext(folder / '__a__cat.webp')}\n"
        assert not (data / "params.txt").exists()
        config.write_text('directory_pattern = "[datte]"')
        assert "[datte]" in sdterm("samplers").stderr
    finally:
        config.unlink()


def test_ctrl_c_cancels_cleanly_and_says_what_was_saved(data: Path) -> None:
    command = [sys.executable, "-m", "sdterm", "generate", "cat", "--size", "64x64", "--steps", "30", "--count", "50"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(SDTERM_DATA=str(data), PYTHONUNBUFFERED="1"),
    )
    assert process.stdout
    first = Path(process.stdout.readline().strip())
    process.send_signal(signal.SIGINT)
    rest, words = process.communicate(timeout=60)
    saved = 1 + len(rest.splitlines())
    assert process.returncode == 130
    assert re.search(rf"Cancelled\. {saved} finished images? w(as|ere) saved\.", words) and "Traceback" not in words
    assert first.is_file() and not list(data.rglob("*.tmp"))


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="needs a user namespace")
@pytest.mark.parametrize("what", ["out", "tape"])
def test_a_full_disk_is_a_clear_error_and_leaves_no_partial_file(data: Path, tmp_path: Path, what: str) -> None:
    """A tmpfs of 20 KB in a mount namespace of its own, which a larger picture or a tape does not fit in."""
    small = tmp_path / "small"
    small.mkdir()
    other = {"out": f"--out '{small}'", "tape": f"--out '{tmp_path}' --tape '{small}/tape'"}[what]
    draw = f"'{sys.executable}' -m sdterm generate --local 'sea, sunset' --steps 8 --batch 2 --size 256x256 {other}"
    script = f"mount -t tmpfs -o size=20k none '{small}' && {{ {draw}; echo $?; ls -A '{small}'; }}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        env=environment(SDTERM_DATA=str(data)),
        timeout=120,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    code, *files = [line for line in done.stdout.splitlines() if not line.startswith("/")]
    assert code == "1" and "disk is full" in done.stderr and "Traceback" not in done.stderr
    assert [name for name in files if name != "tape"] == []


@pytest.mark.heavy
def test_two_processes_drawing_into_one_folder_keep_every_picture(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sdterm", "generate", "cat", "--size", "64x64", "--steps", "1", "--seed", "1"]
    command += ["--count", "5", "--out", str(tmp_path)]
    env = environment(SDTERM_DATA=str(data))
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [line for process in running for line in process.communicate(timeout=120)[0].splitlines()]
    assert len(set(printed)) == 12 == len(list(tmp_path.iterdir())), "five pictures and a grid from each"


def test_observers_hear_what_a_command_saves_by_itself(sdterm: Run, tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "diary.py").write_text(
        "from sdterm.hooks import Observer, hookimpl\n\n"
        "def note(image):\n    image.path.with_suffix('.note').write_text(str(image.seed))\n\n"
        "@hookimpl\ndef sdterm_observers(): return [Observer('diary', 'Diary', on_image_saved=note)]\n"
    )
    small = ("--steps", "1", "--size", "64x64", "--seed", "7", "--local")
    drawn = sdterm("--data-dir", str(tmp_path), "generate", "red circle", *small)
    assert Path(drawn.stdout.strip()).with_suffix(".note").read_text() == "7", drawn.stderr

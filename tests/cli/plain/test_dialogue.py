"""Plain mode as it is heard: through a pipe, and at a terminal that is typed at."""

import re
import signal
import subprocess
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

from sdterm.cli.plain.commands import COMMANDS
from sdterm.tui import draft
from tests.cli.conftest import Run
from tests.pseudo_terminal import PseudoTerminal

SMALL = ["set steps 4", "set size 64x64"]


def converse(sdterm: Run, *lines: str, code: int = 0, **env: str) -> str:
    """What plain mode says to these lines."""
    done = sdterm("--plain", stdin="".join(f"{line}\n" for line in lines), **env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def is_plain(text: str) -> bool:
    """Whether a text is nothing but letters in lines: no escape codes, no going back on a line, no boxes."""
    drawn = any(0x2500 <= ord(character) <= 0x259F for character in text)
    obeyed = any(unicodedata.category(character) == "Cc" and character != "\n" for character in text)
    return not (drawn or obeyed)


def pictures_in(said: str) -> list[int]:
    """The numbers of the pictures that a transcript says were drawn."""
    found = re.findall(r"^(?:It is image|They are images) (\d+)(?: to (\d+))?\.$", said, re.M)
    return [number for first, last in found for number in range(int(first), int(last or first) + 1)]


def test_a_transcript_has_pictures_and_no_escape_codes(sdterm: Run, data: Path) -> None:
    said = converse(
        sdterm,
        *SMALL,
        "set seed 5",
        "generate a red house",
        "hires",
        "vary",
        "show",
        "gallery",
        "queue",
        "values",
        "help",
    )
    assert is_plain(said)
    assert "Command: generate a red house\n" in said, "what came through the pipe is repeated"
    assert "\nSteps: 4\n" in said and "\nSize: 64x64\n" in said
    path = re.search(r"^The image is saved: (.+)$", said, re.M)
    assert path and Path(path[1]).is_file()
    drawn = pictures_in(said)
    assert len(drawn) == 1 + 1 + 5 and said.count(
        f"\nImage {drawn[0]}, 64 by 64, seed 5, DPM++ 2M. Prompt: a red house"
    )
    hires = "Denoising strength 0.75, Upscale by 2, Hires upscaler Latent."
    assert f"\nHires version of image {drawn[0]}: {hires}\n" in said
    assert "Variations of image" in said and "Variation seed strength: 0.15" in said
    assert all(f"\n{command.name}" in said for command in COMMANDS)
    assert said.endswith("Command: \nGoodbye. Queued jobs continue.\n")
    kept = draft.load(data)
    assert (kept.prompt, kept.value("steps")) == ("a red house", "4"), "the workstation's form has it"

    said = converse(sdterm, f"compare {drawn[2]} {drawn[3]}", f"load {drawn[2]}", f"compare {drawn[2]}", code=1)
    assert is_plain(said)
    assert re.search(rf"\nVariation seed:\nImage {drawn[2]}: \d+\nImage {drawn[3]}: \d+\n", said)
    assert "PSNR" in said and "\nName two images or more, like: compare 12 13.\n" in said


def test_values_are_picked_by_word_or_number_and_taken_back(sdterm: Run) -> None:
    said = converse(
        sdterm,
        *("reset all", "pick sampler", "euler a", "pick schedule kar", "1", "set cfg scale 9.5", "set CLIP skip=2"),
        *("undo", "undo", "values"),
    )
    assert "\n1. " in said and "Number or name: euler a\n" in said
    assert "\nSampler: Euler a\n" in said and "Karras" in said
    assert "\nTaken back: Clip skip.\n" in said and "\nTaken back: CFG.\n" in said
    assert said.rstrip().splitlines()[-2].startswith("Command:")


def test_fields_are_said_by_names_that_can_stand_alone_and_switches_in_the_language(sdterm: Run) -> None:
    lines = ("reset all", "set vary 0.2", "set by seed 5", "set hires on", "set hires upscale 2.5", "values")
    said = converse(sdterm, *lines)
    for told in ("Variation seed strength: 0.2", "Variation seed: 5", "Hires fix: on", "Hires upscale: 2.5"):
        assert said.count(f"\n{told}\n") == 2, "once it is set, and among the values"
    assert "Vary" not in said and "\nby seed" not in said
    said = converse(sdterm, "set 高分辨率修复 关闭", "set tiling 开启", "values", "reset all", SDTERM_LANGUAGE="zh_CN")
    assert "\n高分辨率修复：关闭\n" in said and "\n平铺图 (Tiling)：开启\n" in said and "\n变异强度：0.2\n" in said
    assert not re.search(r": (on|off)$", said, re.M)


def test_an_image_is_told_in_the_language_that_is_in_use(sdterm: Run) -> None:
    converse(sdterm, *SMALL, "set vary 0.2", "generate a red house", "reset all")
    said = converse(sdterm, "show", "queue", SDTERM_LANGUAGE="zh_CN")
    assert "\n步数：4\n" in said and "\n变异强度：0.2\n" in said
    assert not any(name in said for name in ("Steps", "Variation", "CFG scale", "Schedule type"))
    assert "64 乘 64，" in said and "。提示词：a red house" in said


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("generat a house", "There is no command named 'generat'"),
        ("set stepz 4", "There is no parameter named 'stepz'"),
        ("set steps many", "Steps takes a whole number"),
        ("set sampler nothing", "There is no Sampler 'nothing'."),
        ("set mask -", "Name a file, or an image by its number"),
        ("prompts 0", "There is no prompt 0."),
        ("show 123456", "There is no image 123456."),
        ("cancel \x1b[31mred", "is not the number of an image or job."),
        ("show " + "1" * 5000, "is not the number of an image or job."),
        ("set init_images /nowhere.png", "cannot be used."),
    ],
)
def test_an_error_is_a_sentence_and_the_dialogue_goes_on(sdterm: Run, line: str, sentence: str) -> None:
    said = converse(sdterm, line, "undo", line, "quit", code=1)
    assert said.count(sentence) == 2 and "Traceback" not in said and is_plain(said)


def test_a_setting_opens_it_and_an_end_of_input_leaves(sdterm: Run) -> None:
    done = sdterm(stdin="", SDTERM_PLAIN="true")
    assert done.returncode == 0 and "plain mode" in done.stdout and "Goodbye" in done.stdout


@pytest.mark.heavy
def test_ctrl_c_stops_the_drawing_and_then_leaves(data: Path) -> None:
    terminal = PseudoTerminal(data, "--plain", TERM="xterm-256color")
    try:
        terminal.until_sent("Command: $")
        terminal.type("set steps 150\r")
        terminal.until_sent(r"Steps: 150\s+Command: $")
        terminal.type("generate\r")
        terminal.until_sent("Prompt: $")
        terminal.type("a lake\r")
        terminal.until_sent(r"\d+ percent: step \d+ of 150")
        terminal.process.send_signal(signal.SIGINT)
        terminal.until_sent(r"Cancelled[^\n]*\s+Command: $")
        terminal.type("reset steps\r")
        terminal.until_sent(r"Steps: 20\s+Command: $")
        terminal.type("set\r")
        terminal.until_sent("Parameter: $")
        while terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):  # readline misses one that comes just before it begins to wait
                terminal.process.wait(5)
        terminal.until_it_ends()
        assert terminal.process.returncode == 0
    finally:
        terminal.close()
    assert re.search(r"Stopped\. Queued jobs continue\.\s+Command: ", terminal.sent)
    assert "Goodbye. Queued jobs continue." in terminal.sent
    assert "\x1b" not in terminal.sent and is_plain(terminal.sent.replace("\r\n", "\n").replace("^C", ""))


def test_a_dumb_terminal_is_offered_plain_mode(data: Path) -> None:
    terminal = PseudoTerminal(data, TERM="dumb")
    try:
        terminal.until_sent(r"Open plain mode instead.*\[Y/n\]")
        terminal.type("\r")
        terminal.until_sent("Command: $")
        terminal.type("quit\r")
        terminal.until_it_ends()
    finally:
        terminal.close()
    assert terminal.process.returncode == 0 and "\x1b" not in terminal.sent

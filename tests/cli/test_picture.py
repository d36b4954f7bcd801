"""Printed pictures: each terminal gets its own kind, by its name or by what it says when it is asked."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from sdterm.cli.picture import show_picture
from sdterm.tui.picture.support import Support
from tests.pseudo_terminal import WHAT_CAN_YOU_DO, PseudoTerminal
from tests.tui.picture.reader import (
    PLACEHOLDER,
    distance,
    inline_picture,
    kitty_pictures,
    sixel_picture,
    unwrapped_of_tmux,
)

Start = Callable[..., PseudoTerminal]

PLAIN = "\x1b[?1;2c"


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    started: list[PseudoTerminal] = []

    def start(*words: str, says: str = PLAIN, **env: str) -> PseudoTerminal:
        started.append(PseudoTerminal(data, *words, cell=(0, 0), says=says, **env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def saved(terminal: PseudoTerminal) -> Path:
    """Where the picture is. Nothing went wrong, and no answer is left for the shell."""
    terminal.until_it_ends()
    assert terminal.process.returncode == 0
    assert "Traceback" not in terminal.sent and not terminal.unread
    path = re.search(r"Saved (.*\.png)", terminal.sent)
    assert path
    return Path(path[1])


def pixels(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


WORDS = ("generate", "red circle, blue background", "--steps", "4", "--seed", "3")


@pytest.mark.heavy
def test_foot_is_sent_sixel(start: Start) -> None:
    terminal = start(*WORDS, says="\x1b[?62;4;22c", TERM="foot")
    picture = pixels(saved(terminal))
    sixel = re.search(r"\x1bP0.*?\x1b\\", terminal.sent, re.DOTALL)
    assert sixel
    for defining_selects in (False, True):
        shown = sixel_picture(sixel[0], defining_selects=defining_selects)
        assert shown.size == (360, 360), "18 rows of 20 pixels, six less than the terminal has"
        assert distance(shown, picture) < 10


@pytest.mark.heavy
def test_kitty_of_any_version_is_sent_the_whole_picture(start: Start) -> None:
    terminal = start(*WORDS, TERM="xterm-kitty")
    picture = pixels(saved(terminal))
    ((keys, shown),) = kitty_pictures(terminal.sent).values()
    assert "U" not in keys, "no placeholders, which not every kitty has"
    assert (keys["c"], keys["r"]) == ("36", "18")
    assert shown.tobytes() == picture.tobytes()


@pytest.mark.heavy
def test_a_terminal_is_sent_what_it_says_it_has(start: Start) -> None:
    """It has characters of 9x18 pixels, and sixteen colours."""
    said = "\x1bP>|XTerm(379)\x1b\\\x1b[6;18;9t\x1b[?1;0;16S\x1b[?63;1;2;4;6;9;15;22c"
    terminal = start(*WORDS, says=said, TERM="xterm-256color")
    saved(terminal)
    sixel = re.search(r"\x1bP0.*?\x1b\\", terminal.sent, re.DOTALL)
    assert sixel and sixel_picture(sixel[0]).size == (36 * 9, 324)
    assert max(map(int, re.findall(r"#(\d+)", sixel[0]))) < 16


def test_kitty_behind_tmux_is_sent_cells_that_stand_for_the_picture(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "socket,1,0")
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, color_system="truecolor", width=40, height=20)
    show_picture(console, repo / "docs" / "images" / "sunset-red-house.png", Support("kitty", "truecolor", ""), None)
    ((number, (keys, shown)),) = kitty_pictures(unwrapped_of_tmux(screen.getvalue())).items()
    assert keys["U"] == "1" and screen.getvalue().count(PLACEHOLDER) == int(keys["c"]) * int(keys["r"])
    assert f"38;2;{number >> 16};{number >> 8 & 255};{number & 255}m" in screen.getvalue()
    assert distance(shown, pixels(repo / "docs" / "images" / "sunset-red-house.png")) < 8


@pytest.mark.heavy
def test_wezterm_is_sent_the_whole_file(start: Start) -> None:
    terminal = start(*WORDS, TERM="xterm-256color", TERM_PROGRAM="WezTerm")
    picture = pixels(saved(terminal))
    sent = re.search(r"\x1b\]1337;[^\x07]*\x07", terminal.sent)
    assert sent
    given, shown = inline_picture(sent[0])
    assert (given["width"], given["height"]) == ("36", "18") and shown.tobytes() == picture.tobytes()


@pytest.mark.heavy
def test_a_terminal_that_never_answers_is_waited_for_twice(start: Start) -> None:
    """The first time it may have been slow."""
    terminal = start(*WORDS, says="", TERM="xterm-256color")
    saved(terminal)
    for _ in range(2):
        terminal.run(*WORDS)
        terminal.until_it_ends()
    assert terminal.sent.count("Saved ") == 3 and terminal.sent.count(WHAT_CAN_YOU_DO) == 2


KNOW = "import pathlib, sys; from sdterm.cli.picture import known_terminal; known_terminal(pathlib.Path(sys.argv[1]))"


@pytest.mark.parametrize(("in_background", "times"), [("", 1), ("&", 0)], ids=["foreground", "background"])
def test_a_question_is_for_the_foreground_alone(in_background: str, times: int, tmp_path: Path) -> None:
    """The terminal would stop a process of the background that sets its mode."""
    ours, its = pty.openpty()
    script = 'exec < "$0" > "$0" 2>&1; set -m; "$1" -c "$2" "$3" ' + in_background + '\nwait; jobs; echo "end $?"'
    shell = subprocess.Popen(
        ["bash", "-c", script, os.ttyname(its), sys.executable, KNOW, str(tmp_path)],
        start_new_session=True,  # whose terminal is the one that it opens
        env={**os.environ, "TERM": "xterm-256color", "TMUX": "", "STY": "", "NO_COLOR": ""},
    )
    sent, end = "", time.monotonic() + 60
    try:
        while "end 0" not in sent:
            assert time.monotonic() < end and "Stopped" not in sent, sent
            if select.select([ours], [], [], 0.2)[0]:
                sent += os.read(ours, 65536).decode()
                if sent.endswith(WHAT_CAN_YOU_DO):
                    os.write(ours, PLAIN.encode())
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        os.close(ours)
        os.close(its)
    assert sent.count(WHAT_CAN_YOU_DO) == times, sent


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("env", "cell"),
    [({"TERM": "xterm-256color"}, "\x1b[38;5;"), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "[░▒▓█]")],
    ids=["coloured", "shaded"],
)
def test_any_other_gets_cells(env: dict[str, str], cell: str, start: Start) -> None:
    terminal = start(*WORDS, **env)
    saved(terminal)
    assert re.search(cell.replace("\x1b[3", r"\x1b\[3"), terminal.sent) and "\x1bP" not in terminal.sent


@pytest.mark.heavy
def test_the_setting_for_previews_counts_here_too(start: Start) -> None:
    terminal = start(*WORDS, TERM="foot", SDTERM_PREVIEW="text")
    saved(terminal)
    assert "\x1bP" not in terminal.sent and "▀" not in terminal.sent


@pytest.mark.heavy
def test_a_job_whose_picture_is_gone_is_told_without_it(start: Start) -> None:
    saved(start(*WORDS, TERM="foot")).unlink()
    terminal = start("attach", TERM="foot")
    saved(terminal)
    assert "The image cannot be shown: No such file or directory." in terminal.sent and "\x1bP" not in terminal.sent

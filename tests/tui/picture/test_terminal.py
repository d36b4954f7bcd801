"""The real driver in a real pseudo terminal: the app hears when what it wrote was read, or notices that nobody says."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tui.picture import paced_app
from tests.tui.picture.reader import distance, kitty_pictures, sixel_picture

QUESTION = b"\x1b[6n"


def environment(repo: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "STY")}
    return own | {"PYTHONPATH": str(repo), "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}


def run(repo: Path, notes: Path, mode: str, turns: int, *, answers: bool, rate: int = 0) -> tuple[bytes, list[Any]]:
    """The program in a terminal of 80x24 that reads so many bytes a second; what it was sent, and the notes."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 800, 480))
    command = [sys.executable, paced_app.__file__, str(notes), mode, str(turns)]
    with subprocess.Popen(command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment(repo)) as app:
        os.close(secondary)
        received = b""
        answered = 0
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not select.select([primary], [], [], 0.5)[0]:
                if app.poll() is not None:
                    break
                continue
            try:
                chunk = os.read(primary, rate // 20 if rate else 65536)
            except OSError:  # the program is gone
                break
            received += chunk
            if rate:
                time.sleep(len(chunk) / rate)
            while answers and answered < received.count(QUESTION):
                os.write(primary, b"\x1b[1;1R")
                answered += 1
        os.close(primary)
        app.wait(10)
        assert app.returncode == 0, received[-2000:].decode(errors="replace")
    return received, [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.mark.heavy
def test_a_terminal_that_answers_is_heard_and_measures_the_line(repo: Path, tmp_path: Path) -> None:
    received, turns = run(repo, tmp_path / "notes", "half", 4, answers=True, rate=64_000)
    assert [turn["heard"] for turn in turns] == [True] * 4
    assert received.count(QUESTION) == 4
    for turn in turns[1:]:
        assert turn["written"] > 10_000
        assert turn["written"] / turn["seconds"] < 80_000, "the line carries 64,000 bytes a second"


@pytest.mark.heavy
def test_a_terminal_that_never_answers_is_soon_asked_no_more(repo: Path, tmp_path: Path) -> None:
    received, turns = run(repo, tmp_path / "notes", "half", 4, answers=False)
    assert [turn["heard"] for turn in turns] == [False] * 4
    assert received.count(QUESTION) == 2


def test_kitty_and_sixel_reach_the_terminal_whole(repo: Path, tmp_path: Path) -> None:
    with Image.open(BytesIO(paced_app.picture(0))) as original:
        received = run(repo, tmp_path / "kitty", "kitty", 1, answers=True)[0].decode()
        before_exit = received[: received.index("\x1b_Ga=d")]
        ((_, picture),) = kitty_pictures(before_exit).values()
        assert distance(picture, original) < 15
        assert not kitty_pictures(received), "the terminal keeps what nobody shows any more"

        received = run(repo, tmp_path / "sixel", "sixel", 1, answers=False)[0].decode()
        (sequence,) = re.findall(r"\x1bP0.*?\x1b\\", received, re.DOTALL)
        assert len(sequence) <= 20_000 and distance(sixel_picture(sequence), original) < 20


@pytest.mark.heavy
def test_a_line_that_was_seen_to_be_fast_gets_finer_pictures(repo: Path, tmp_path: Path) -> None:
    received, _ = run(repo, tmp_path / "notes", "sixel", 3, answers=True)
    sizes = [len(sequence) for sequence in re.findall(r"\x1bP0.*?\x1b\\", received.decode(), re.DOTALL)]
    assert sizes[0] <= 20_000 and sizes[-1] > 2 * sizes[0]


@pytest.mark.heavy
def test_a_slow_line_gets_coarse_ones(repo: Path, tmp_path: Path) -> None:
    received, _ = run(repo, tmp_path / "notes", "sixel", 3, answers=True, rate=30_000)
    assert all(len(one) <= 20_000 for one in re.findall(r"\x1bP0.*?\x1b\\", received.decode(), re.DOTALL))


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_tmux_shows_half_blocks_and_answers_for_itself(repo: Path, tmp_path: Path) -> None:
    tmux = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / "socket")]
    command = [sys.executable, paced_app.__file__, str(tmp_path / "notes"), "half", "2", "stay"]
    start = [*tmux, "new-session", "-d", "-x", "80", "-y", "24", *command]
    subprocess.run(start, env=environment(repo), check=True)
    try:
        end = time.monotonic() + 30
        notes = tmp_path / "notes"
        while time.monotonic() < end and not (notes.exists() and notes.read_text().count("\n") == 2):
            select.select([], [], [], 0.1)
        assert [json.loads(line)["heard"] for line in notes.read_text().splitlines()] == [True, True]
        screen = subprocess.run([*tmux, "capture-pane", "-p", "-e"], capture_output=True, text=True, check=True).stdout
        assert screen.count("▀") > 200
        assert "picture 1" in screen
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)

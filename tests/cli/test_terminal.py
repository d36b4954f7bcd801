"""In a real terminal (tmux): the picture, its infotext, what it took; and Ctrl+C."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import environment

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")


class Terminal:
    """A tmux server of its own with one 80x24 window."""

    def __init__(self, folder: Path, **env: str) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "socket")]
        self._env = environment(**env)
        self._call("new-session", "-d", "-x", "80", "-y", "24", "sh")

    def run(self, *arguments: str, then: str = "true") -> None:
        """Type an sdterm command; `then` runs behind it."""
        command = shlex.join([sys.executable, "-m", "sdterm", *arguments])
        self._call("send-keys", f"clear; {command}; echo exit code $?; tmux wait-for -S {then}", "Enter")

    def press(self, key: str) -> None:
        self._call("send-keys", key)

    def wait(self, name: str) -> None:
        self._call("wait-for", name)

    def screen(self, *options: str) -> str:
        return self._call("capture-pane", "-p", *options)

    def close(self) -> None:
        self._call("kill-server")

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], env=self._env, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path, data: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, SDTERM_DATA=str(data))
    yield terminal
    terminal.close()


def test_the_picture_is_shown_with_its_infotext_and_what_it_took(terminal: Terminal) -> None:
    terminal.run("generate", "red circle, blue background", "--steps", "4", "--seed", "3", then="drawn")
    terminal.wait("drawn")
    shown = terminal.screen("-J")
    lines = shown.splitlines()
    picture = [line for line in lines if "▀▀" in line]
    assert 8 <= len(picture) <= 18, "as tall as fits above the words"
    assert "Steps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 3, Size: 128x128" in shown
    assert "Time taken: " in shown and "Resident: " in shown and "Saved " in shown and "exit code 0" in shown
    assert "\x1b[38;2;" in terminal.screen("-e") or "\x1b[38;5;" in terminal.screen("-e"), "in colour"


def test_no_show_leaves_the_picture_out(terminal: Terminal) -> None:
    terminal.run("generate", "cat", "--steps", "1", "--no-show", "--count", "2", then="drawn")
    terminal.wait("drawn")
    shown = terminal.screen("-J")
    assert "▀" not in shown and "exit code 0" in shown
    assert re.search(r"/grid-\d{4}\.png with all images", shown) and shown.count("Steps: 1") == 2


@pytest.mark.heavy
def test_ctrl_c_while_drawing_says_so(terminal: Terminal) -> None:
    terminal.run("generate", "cat", "--steps", "900", then="drawn")
    while "/900" not in terminal.screen():  # each look is a process of its own: no busy loop
        pass
    terminal.press("C-c")
    terminal.wait("drawn")
    shown = terminal.screen()
    assert "Cancelled. No image was finished." in shown and "exit code 130" in shown
    assert "Traceback" not in shown

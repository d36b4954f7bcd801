"""The workstation in a real terminal (tmux), against a real host."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len

from sdterm.events import Image
from tests.host.running import REPOSITORY, Running

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")
WITHIN = 60.0  # seconds

Start = Callable[..., "Tmux"]


class Tmux:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path, host: Running, **env: str) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "socket")]
        self._env = {
            k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TMUX") and not k.startswith("SDTERM")
        }
        self._env |= {"SDTERM_DATA": str(host.settings.root), "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8", **env}
        self._closed = False
        self._call("new-session", "-d", "-x", "80", "-y", "24", "sh")

    def open(self) -> None:
        """Start the workstation."""
        self.press(f"clear; {shlex.quote(sys.executable)} -m sdterm; echo exit code $?", "Enter")
        self.until(r"sdterm  \[")

    def log(self, path: Path) -> None:
        """Keep all that is sent to the terminal."""
        self._call("pipe-pane", "-o", f"cat > {shlex.quote(str(path))}")

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)

    def write(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def screen(self, *options: str) -> str:
        return self._call("capture-pane", "-p", *options)

    def until(self, wanted: str, *options: str) -> str:
        """The screen, once it matches that expression."""
        deadline = time.monotonic() + WITHIN
        while not re.search(wanted, shown := self.screen(*options)):
            assert time.monotonic() < deadline, f"{wanted!r} never came:\n{shown}"
            time.sleep(0.1)  # a screen is no event
        return shown

    def resize(self, width: int, height: int) -> None:
        self._call("resize-window", "-x", str(width), "-y", str(height))

    def close(self) -> None:
        """As when the line is cut: what runs in it is hung up on, and keeps its draft before it ends."""
        if self._closed:
            return
        self._closed = True
        shell = psutil.Process(int(self._call("display-message", "-p", "#{pane_pid}")))
        inside = [process for process in shell.children(recursive=True) if "sdterm.host" not in process.cmdline()]
        self._call("kill-server")
        psutil.wait_procs(inside, timeout=WITHIN)

    def _call(self, *arguments: str) -> str:
        command = [*self._tmux, *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout


@pytest.fixture
def start(tmp_path: Path, host: Running) -> Iterator[Start]:
    """Opens workstations, and closes those that a test leaves open."""
    opened: list[Tmux] = []

    def start(log: Path | None = None, **env: str) -> Tmux:
        opened.append(Tmux(tmp_path, host, **env))
        if log:
            opened[-1].log(log)
        opened[-1].open()
        return opened[-1]

    yield start
    for tmux in opened:
        tmux.close()


@pytest.fixture(autouse=True)
def empty_form(host: Running) -> None:
    (host.settings.root / "draft.json").unlink(missing_ok=True)


@pytest.mark.heavy
def test_a_line_is_cut_while_a_picture_is_drawn_and_it_comes_all_the_same(start: Start, host: Running) -> None:
    first = start(COLORTERM="truecolor", TERM="xterm-256color")
    first.write("sunset, lake")
    for _ in range(4):
        first.press("Tab")
    first.press("BSpace", "BSpace")
    first.write("60")
    first.press("F5")
    first.until(r"/60 \[")
    assert "▀" in first.until("▀"), "a preview"
    job = host.client.jobs().jobs[0].id
    first.close()
    second = start(COLORTERM="truecolor")
    second.until("sunset, lake")
    images = [event for event in host.events(job) if isinstance(event, Image)]
    assert len(images) == 1 and "Steps: 60" in images[0].infotext
    picture = host.client.pictures(job=job).pictures[0].id
    second.until(rf"{picture}  \d+x\d+  seed")
    second.until(r"\x1b\[[0-9;]*[34]8;[25];[0-9;]*m▀", "-e")
    second.press("C-q")
    second.until("exit code 0")


def test_alt_is_no_letter_and_the_prompt_comes_back_from_an_editor(start: Start, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf \'%s, meadow\' "$(cat "$1")" > "$1.new" && mv "$1.new" "$1"\n')
    editor.chmod(0o755)
    tmux = start(EDITOR=str(editor))
    tmux.write("green tree")
    tmux.press("M-e")
    tmux.until("green tree, meadow")
    tmux.press("C-z")
    tmux.until(r"green tree +┃")
    tmux.press("M-g")
    assert "green treeg" not in tmux.until("forever")
    tmux.press("M-g")


@pytest.mark.heavy
def test_five_sizes_one_after_the_other(start: Start) -> None:
    tmux = start(COLUMNS="80", LINES="24")  # as some shells export them, once and for all
    tmux.write("castle, night")
    for width, height in ((120, 36), (60, 20), (40, 12), (30, 8), (80, 24)):
        tmux.resize(width, height)
        tmux.until("40x12 is needed" if width < 40 else "castle, night")
        assert all(cell_len(line) <= width for line in tmux.screen().splitlines())
    tmux.until("Parameters")


@pytest.mark.heavy
def test_without_colours_every_state_is_a_word_or_a_shape(start: Start) -> None:
    tmux = start(NO_COLOR="1", COLORTERM="truecolor")
    tmux.until("idle")
    assert not re.search(r"\x1b\[(?:[\d;]*;)?(?:[349][0-8]|10\d)(?:;[\d;]*)?m", tmux.screen("-e")), "no colour at all"
    shown = tmux.screen()
    assert "╔═ Prompt" in shown and "╭─ Negative prompt" in shown and "[Generate]" in shown
    tmux.press("Tab")
    tmux.until("╔═ Negative prompt")


@pytest.mark.heavy
def test_a_terminal_without_colours_is_sent_none(host: Running, tmp_path: Path) -> None:
    log = tmp_path / "log"
    tmux = Tmux(tmp_path, host)
    tmux.log(log)
    tmux.press("export TERM=vt100", "Enter")
    tmux.open()
    tmux.until("idle")
    tmux.close()
    sent = log.read_text(errors="replace")
    assert "[Generate]" in sent
    assert not re.search(r"\x1b\[(?:[\d;]*;)?(?:[349]\d|10\d)(?:;[\d;]*)?m", sent)


@pytest.mark.heavy
def test_chinese_stands_where_it_should(start: Start) -> None:
    tmux = start(SDTERM_LANGUAGE="zh_CN")
    tmux.until("反向提示词")
    tmux.write("湖, 日落 (红色的房子:1.2)")
    shown = tmux.until("红色的房子")
    rows = shown.splitlines()
    assert all(cell_len(row) <= 80 for row in rows)
    edges = {cell_len(row[: row.rindex(mark) + 1]) for row in rows[2:6] for mark in "┃│┓╮" if mark in row}
    assert max(edges) == 80, "the right edge is straight"
    tmux.press("F3")
    tmux.until("图库|画廊")


HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202ered [@click=app.quit]x[/]"


def test_hostile_names_and_texts_are_only_shown(start: Start, host: Running, tmp_path: Path) -> None:
    """In the draft, in a model's file name, in the keymap: what the terminal is sent has none of it."""
    root = host.settings.root
    named = root / "models" / "Stable-diffusion" / f"{HOSTILE.replace('/', '')}.safetensors"
    named.write_bytes(b"no model")
    (root / "draft.json").write_text(
        json.dumps({"prompt": HOSTILE, "negative_prompt": "", "fields": {"model": HOSTILE}})
    )
    log = tmp_path / "sent"
    try:
        tmux = start(log, SDTERM_KEYMAP=HOSTILE)
        tmux.until("idle")
        tmux.press("C-l")
        tmux.until("red")
        tmux.press("F5")
        tmux.until("control character")
        tmux.press("F10")
        tmux.press("/")
        tmux.write("keymap")
        tmux.until("The key bindings")
        tmux.close()
    finally:
        named.unlink()
    sent = log.read_bytes().decode(errors="replace")
    assert "]0;owned\x07" not in sent and "\u202e" not in sent and "\x1b[31m\u202e" not in sent


def test_what_stands_on_the_terminal_is_what_was_drawn(start: Start, host: Running) -> None:
    """Only what is new is written: after a walk through screens and dialogs, writing all anew must change nothing."""
    host.events(host.submit(prompt="lake", seed=5, steps=1, batch_count=2))
    tmux = start()
    tmux.until("seed 6")
    tmux.until("Demo model only")
    for keys, wanted in (
        (("x", "Tab", "Tab", "Enter"), "Sampler [═━]"),
        (("e", "u", "Escape"), r"(?s)\A(?!.*[═━] Sampler [═━])"),
        (("C-p",), "a command, setting, theme"),
        (("g", "BSpace", "Escape"), r"(?s)\A(?!.*What should)"),
        (("F3",), r"images.*\n.*Seed"),
        (("Down", "t", "Right", "t", "o"), "Sorted by Seed"),
        (("F4", "F10", "Down", "C", "F1"), "Anywhere"),
        (("Down", "Down", "F2"), "Negative prompt"),
    ):
        tmux.press(*keys)
        tmux.until(wanted)
    settled = _still(tmux)
    tmux.press("F2")  # the screen that is open: written anew
    assert _still(tmux) == settled
    tmux.press("F3")
    tmux.until("Sorted by Seed")
    settled = _still(tmux)
    tmux.press("F3")
    assert _still(tmux) == settled


def _still(tmux: Tmux) -> str:
    """The screen, colours among it, once it has not changed for a while."""
    before, same = "", 0
    deadline = time.monotonic() + WITHIN
    while same < 10:
        assert time.monotonic() < deadline, "it never comes to rest"
        now = tmux.screen("-e")
        same, before = (same + 1 if now == before else 0), now
        time.sleep(0.1)  # a screen is no event
    return before

"""What tmux says of itself, and what that means for pictures."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sdterm.tui.picture.asking import Answers
from sdterm.tui.picture.support import Support, Terminal, support, verdicts
from sdterm.tui.picture.tmux import Tmux, ask_tmux, is_older, read

INSIDE = {"TERM": "tmux-256color", "COLORTERM": "truecolor", "TMUX": "socket,1,0"}
HAS_SIXEL, HAS_NONE = Answers(abilities=frozenset({2, 4})), Answers(abilities=frozenset({2}))


def shown(answer: str, heard: Answers = HAS_NONE) -> Support:
    return support(Terminal(INSIDE, heard, read(answer)), among_text=True)


@pytest.mark.parametrize(
    ("answer", "heard", "protocol"),
    [
        ("3.3a|on|256,RGB|xterm-kitty|kitty(0.35.2)\n", HAS_NONE, "kitty"),
        ("3.4|all|256,RGB|xterm-ghostty|ghostty 1.1.3\n", HAS_NONE, "kitty"),
        ("3.2a||256,RGB|xterm-kitty|kitty(0.35.2)\n", HAS_NONE, "kitty"),
        ("3.3a|off|256,RGB|xterm-kitty|kitty(0.35.2)\n", HAS_NONE, "half"),
        ("3.3a||256,RGB|xterm-kitty|kitty(0.35.2)\n", HAS_NONE, "half"),
        ("3.3a|on|256,RGB|xterm-kitty|kitty(0.26.5)\n", HAS_NONE, "half"),
        ("3.3a|on|256,RGB|xterm-256color|WezTerm 20240203\n", HAS_NONE, "half"),
        ("3.4|off|256,RGB,sixel|foot|foot(1.16.2)\n", HAS_SIXEL, "sixel"),
        ("3.4|off|256,RGB,sixel|foot|foot(1.16.2)\n", HAS_NONE, "half"),
        ("3.4|off|256,RGB|xterm-256color|VTE(7006)\n", HAS_SIXEL, "half"),
        ("3.4|on|256,RGB,sixel|foot|foot(1.16.2)\n", HAS_SIXEL, "sixel"),
        ("no answer", HAS_SIXEL, "half"),
    ],
)
def test_tmux_lets_through_what_it_and_the_terminal_behind_it_can(answer: str, heard: Answers, protocol: str) -> None:
    assert shown(answer, heard).protocol == protocol


def test_the_reason_says_what_would_have_to_change() -> None:
    def why(answer: str, way: str) -> str:
        return {str(name): verdict for name, verdict in verdicts(Terminal(INSIDE, HAS_NONE, read(answer))).items()}[
            way
        ].why

    assert "tmux set -g allow-passthrough on" in why("3.3a|off|256|xterm-kitty|kitty(0.35.2)", "kitty")
    assert "kitty(0.26.5), and images need 0.28" in why("3.3a|on|256|xterm-kitty|kitty(0.26.5)", "kitty")
    assert "3.3a, has no sixel" in why("3.3a|on|256|foot|foot(1.13)", "sixel")
    assert "tmux" in why("3.3a|on|256|xterm|iTerm2 3.5", "iterm")


def test_a_hostile_name_cannot_reach_the_terminal() -> None:
    found = verdicts(Terminal(INSIDE, HAS_SIXEL, read("3.4|on|256|x|\x1b]0;owned\x07\x9b31m\u202e")), among_text=True)
    assert all(verdict.why.isprintable() for verdict in found.values())


@pytest.mark.parametrize(("version", "older"), [("3.2a", True), ("3.3", False), ("next-3.6", False), ("master", False)])
def test_versions_are_compared(version: str, older: bool) -> None:
    assert is_older(version, (3, 3)) is older


def test_outside_nobody_is_asked_and_a_tmux_that_is_gone_says_nothing(tmp_path: Path) -> None:
    assert ask_tmux({}) is None
    assert ask_tmux({"TMUX": f"{tmp_path}/none,1,0", "PATH": str(tmp_path)}) is None


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_real_tmux_says_whether_it_passes_pictures_on(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
    subprocess.run([*tmux, "new-session", "-d", "-x", "80", "-y", "24", "cat"], check=True)
    environ = {"TMUX": f"{socket},1,0", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    try:
        before = ask_tmux(environ)
        assert isinstance(before, Tmux) and before.version
        if not is_older(before.version, (3, 3)):
            assert not before.passes
            subprocess.run([*tmux, "set", "-g", "allow-passthrough", "on"], check=True)
            after = ask_tmux(environ)
            assert after and after.passes
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)

"""The terminals: how each is started, and how like its file a picture must be in it."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.terminals.screen import WIDTH

COLUMNS, ROWS = 80, 24
XTERM_JS = Path(os.environ["SDTERM_XTERM_JS"]) if "SDTERM_XTERM_JS" in os.environ else None
"""The node_modules folder that has xterm.js."""
_FONT = "DejaVu Sans Mono"


class Start(NamedTuple):
    """What a terminal's command is made of."""

    inside: list[str]
    """What is to run in it."""
    address: str
    """Where a page finds the same."""
    folder: Path
    columns: int
    rows: int


class Terminal(NamedTuple):
    needs: tuple[str, ...]
    command: Callable[[Start], Sequence[str]]
    mean: float = 20
    worst: float = 60
    """How far from the file's its colours may be: in the mean, and in the worst spot."""
    settings: Mapping[str, str] = {}
    """The workstation's."""
    compositor: bool = False
    """It wants Wayland."""
    tmux: str | None = None
    """tmux runs in it, with that configuration."""


def _xterm(*more: str) -> Callable[[Start], list[str]]:
    return lambda start: [
        *("xterm", "-fa", _FONT, "-fs", "11", "-geometry", f"{start.columns}x{start.rows}", *more, "-e", *start.inside)
    ]


def _foot(start: Start) -> list[str]:
    size = f"--window-size-chars={start.columns}x{start.rows}"
    return ["foot", "-c", "/dev/null", "-f", f"{_FONT}:size=11", size, *start.inside]


def _kitty(start: Start) -> list[str]:
    options = {
        "initial_window_width": f"{start.columns}c",
        "initial_window_height": f"{start.rows}c",
        "remember_window_size": "no",
        "confirm_os_window_close": "0",
        "update_check_interval": "0",
        "font_family": _FONT,
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["kitty", "--config", "NONE", *given, *start.inside]


def _konsole(start: Start) -> list[str]:
    size = ["-p", f"TerminalColumns={start.columns}", "-p", f"TerminalRows={start.rows}"]
    return ["konsole", "--nofork", "--hide-menubar", "--hide-tabbar", *size, "-e", *start.inside]


def _xfce(start: Start) -> list[str]:
    bare = ["--disable-server", "--hide-menubar", "--hide-scrollbar", "--hide-toolbar", "--hide-borders"]
    size = f"--geometry={start.columns}x{start.rows}"
    return ["xfce4-terminal", *bare, size, f"--font={_FONT} 11", "-x", *start.inside]


def _chromium(start: Start) -> list[str]:
    return [
        *("chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-background-networking"),
        *(f"--user-data-dir={start.folder}/chromium", "--window-position=0,0", f"--window-size={WIDTH},700"),
        f"--app={start.address}/?columns={start.columns}&rows={start.rows}",
    ]


_PASSED = "set -g allow-passthrough on\nset -as terminal-features ',*:RGB'\n"

TERMINALS: dict[str, Terminal] = {
    "xterm": Terminal(("xterm",), _xterm(), 90, 220),  # TERM=xterm: 16 colours
    "xterm-256": Terminal(("xterm",), _xterm("-tn", "xterm-256color"), 35, 90),
    "xterm-sixel": Terminal(("xterm",), _xterm("-tn", "xterm-256color", "-ti", "vt340"), 35, 90),
    "foot": Terminal(("foot",), _foot, compositor=True),
    "kitty": Terminal(("kitty",), _kitty),
    "konsole": Terminal(("konsole",), _konsole),
    "xfce4-terminal": Terminal(("xfce4-terminal",), _xfce),
    "xterm.js": Terminal(("chromium",), _chromium),
    "tmux-xterm": Terminal(("tmux", "xterm"), _xterm("-tn", "xterm-256color"), 35, 90, tmux=""),
    "tmux-kitty": Terminal(("tmux", "kitty"), _kitty, tmux=_PASSED),
    "tmux-foot": Terminal(("tmux", "foot"), _foot, tmux=_PASSED, compositor=True),
}


def missing(name: str, root: Path, xterm_js: Path | None) -> str:
    """Why this one cannot be tried, or nothing. root: where its own programs are installed."""
    path = ":".join(str(root / folder) for folder in ("usr/local/bin", "usr/bin", "bin"))
    ours = [program for program in ("Xvfb", "sway") if program == "Xvfb" or TERMINALS[name].compositor]
    for program in (*ours, *TERMINALS[name].needs):
        if not shutil.which(program, path=None if program in ours else path):
            return f"{program} is not installed"
    if name == "xterm.js" and not (xterm_js and (xterm_js / "@xterm/addon-image").is_dir()):
        return "@xterm/xterm and @xterm/addon-image are not there"
    return ""

"""What docs/terminals.md says each terminal gets is what it gets."""

import re
from pathlib import Path

from sdterm.core.settings.settings import PREVIEWS
from sdterm.tui.picture.asking import Answers
from sdterm.tui.picture.support import Terminal, support

XTERM = {"TERM": "xterm-256color"}
SIXEL, NONE = frozenset({4}), frozenset({22})
TERMINALS = {
    "kitty from 0.28 on": Terminal({"TERM": "xterm-kitty"}, Answers("kitty(0.28.0)", NONE, kitty=True)),
    "ghostty": Terminal({"TERM": "xterm-ghostty"}, Answers("ghostty 1.1.3", NONE, kitty=True)),
    "kitty before 0.28": Terminal({"TERM": "xterm-kitty"}, Answers("kitty(0.26.5)", NONE, kitty=True)),
    "iTerm2": Terminal(XTERM, Answers("iTerm2 3.5.0", NONE)),
    "WezTerm": Terminal(XTERM, Answers("WezTerm 20240203", SIXEL)),
    "Konsole from 22.04 on": Terminal(XTERM | {"KONSOLE_VERSION": "220400"}, Answers("Konsole 22.04.0", SIXEL)),
    "VS Code, with `terminal.integrated.enableImages`": Terminal(
        XTERM | {"TERM_PROGRAM": "vscode"}, Answers("", SIXEL)
    ),
    "VS Code, without it": Terminal(XTERM | {"TERM_PROGRAM": "vscode"}, Answers("", NONE)),
    "mintty": Terminal(XTERM, Answers("mintty 3.7.1", SIXEL)),
    "foot, mlterm, contour": Terminal({"TERM": "foot"}, Answers("foot(1.13.1)", SIXEL)),
    "xterm, started with `-ti vt340`": Terminal(XTERM, Answers("XTerm(379)", SIXEL)),
    "xterm, as it comes": Terminal(XTERM, Answers("XTerm(379)", NONE)),
    "GNOME Terminal, xfce4-terminal and others by VTE": Terminal(XTERM, Answers("VTE(7006)", NONE)),
    "Alacritty": Terminal({"TERM": "alacritty"}, Answers()),
    "the Linux console": Terminal({"TERM": "linux"}),
    "any, with `NO_COLOR`": Terminal({"TERM": "xterm-kitty", "NO_COLOR": "1"}),
    "`TERM=vt100` and the like": Terminal({"TERM": "vt100", "LANG": "en_US.UTF-8"}),
    "`TERM=dumb`": Terminal({"TERM": "dumb"}),
}


def page(repo: Path) -> str:
    return (repo / "docs" / "terminals.md").read_text(encoding="utf-8")


def test_each_terminal_of_the_table_gets_what_it_says(repo: Path) -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", page(repo), re.MULTILINE)
    told = {name: pictures for name, pictures, _ in rows if name != "terminal"}
    assert told.keys() == TERMINALS.keys()
    shown = {name: support(terminal, among_text=True).protocol for name, terminal in TERMINALS.items()}
    assert {name: re.split(r"[ ,;]", pictures)[0].replace("none", "text") for name, pictures in told.items()} == shown


def test_every_way_is_told_of(repo: Path) -> None:
    assert {*re.findall(r"\*\*(\w+)\*\*", page(repo))} >= {*PREVIEWS} - {"auto"}

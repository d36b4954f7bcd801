"""How pictures are shown in which terminal: by its environment, and by what it says itself."""

import pytest

from sdterm.tui.picture.asking import Answers
from sdterm.tui.picture.support import Terminal, support, verdicts

TRUE = {"COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("text", "mono")),
        ({"TERM": "dumb"}, ("text", "mono")),
        ({"TERM": "vt220", "LANG": "de_DE.UTF-8"}, ("half", "mono")),
        ({"TERM": "vt100", "LC_ALL": "C.UTF-8"}, ("half", "mono")),
        ({"TERM": "vt100"}, ("ascii", "mono")),
        ({"TERM": "vt100", "LC_CTYPE": "C.UTF-8"}, ("ascii", "mono")),
        ({"TERM": "vt100", "LC_CTYPE": "de_DE.utf8"}, ("half", "mono")),
        ({"TERM": "vt100", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}, ("ascii", "mono")),
        ({"TERM": "linux"}, ("half", "16")),
        ({"TERM": "xterm"}, ("half", "16")),
        ({"TERM": "xterm-256color"}, ("half", "256")),
        ({"TERM": "xterm-256color"} | TRUE, ("half", "truecolor")),
        ({"TERM": "xterm-kitty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"} | TRUE, ("kitty", "truecolor")),
        ({"TERM": "xterm-ghostty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, ("iterm", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, ("iterm", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, ("half", "truecolor")),
        ({"TERM": "foot"}, ("sixel", "truecolor")),
        ({"TERM": "foot-extra"}, ("sixel", "truecolor")),
        ({"TERM": "footling"}, ("half", "16")),
        ({"TERM": "mlterm"}, ("sixel", "truecolor")),
        ({"TERM": "contour"}, ("sixel", "truecolor")),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, ("half", "mono")),
        ({"TERM": "xterm-kitty", "NO_COLOR": ""}, ("kitty", "truecolor")),
        ({"TERM": "tmux-256color", "TMUX": "socket,1,0"}, ("half", "256")),
        ({"TERM": "tmux-256color", "TMUX": "socket,1,0"} | TRUE, ("half", "truecolor")),
        ({"TERM": "screen-256color", "TMUX": "socket,1,0", "KITTY_WINDOW_ID": "1"}, ("half", "256")),
        ({"TERM": "screen-256color", "TMUX": "socket,1,0", "TERM_PROGRAM": "ghostty"}, ("half", "256")),
        ({"TERM": "screen", "STY": "1.pts"}, ("half", "16")),
    ],
)
def test_the_best_that_is_sure_to_work(environ: dict[str, str], expected: tuple[str, str]) -> None:
    found = support(Terminal(environ))
    assert (found.protocol, found.depth) == expected
    assert found.reason.endswith(".")


def test_a_users_choice_counts_over_what_is_known() -> None:
    tmux, kitty = Terminal({"TERM": "tmux-256color", "TMUX": "socket,1,0"}), Terminal({"TERM": "xterm-kitty"})
    assert support(tmux, "kitty").protocol == support(tmux, "kitty", among_text=True).protocol == "kitty"
    assert support(kitty, "off").protocol == "off"
    assert support(kitty._replace(heard=Answers("kitty(0.26.5)")), "kitty", among_text=True).protocol == "kitty"
    assert support(Terminal({"TERM": "xterm"}), "kitty").protocol == "half", "sixteen colours cannot number pictures"
    assert support(Terminal({"TERM": "xterm"}), "sixel").protocol == "sixel", "pixels have colours of their own"
    assert support(Terminal({"TERM": "xterm", "NO_COLOR": "1"}), "sixel").protocol == "half"


XTERM = {"TERM": "xterm-256color"}
SIXEL, NONE = frozenset({4, 22}), frozenset({22})


@pytest.mark.parametrize(
    ("environ", "heard", "expected"),
    [
        (XTERM, Answers("XTerm(379)", SIXEL), "sixel"),
        ({"TERM": "xterm"}, Answers("XTerm(379)", SIXEL), "sixel"),
        (XTERM, Answers("XTerm(379)", NONE), "half"),
        (XTERM, Answers("VTE(7006)", NONE), "half"),
        (XTERM, Answers("WezTerm 20240203-110809-5046fc22", SIXEL), "iterm"),
        (XTERM, Answers("iTerm2 3.5.0", NONE), "iterm"),
        (XTERM, Answers("Konsole 22.12.3", SIXEL), "iterm"),
        (XTERM | {"KONSOLE_VERSION": "211203"}, Answers("Konsole 21.12.3", NONE), "half"),
        (XTERM | {"TERM_PROGRAM": "vscode"}, Answers("", SIXEL), "iterm"),
        (XTERM | {"TERM_PROGRAM": "vscode"}, Answers("", NONE), "half"),
        (XTERM, Answers("xterm.js(5.6.0)", SIXEL), "iterm"),
        (XTERM, Answers("xterm.js(5.6.0)", NONE), "half"),
        (XTERM, Answers("mintty 3.7.1", SIXEL), "iterm"),
        ({"TERM": "foot"}, Answers("foot(1.13.1)", SIXEL), "sixel"),
        ({"TERM": "foot"}, Answers(), "sixel"),
        (XTERM, Answers(), "half"),
        (XTERM | {"NO_COLOR": "1"}, Answers("XTerm(379)", SIXEL), "half"),
        (XTERM | {"STY": "1"}, Answers("foot(1.13.1)", SIXEL), "half"),
        (XTERM, Answers("\x9b31m\u202e", SIXEL), "sixel"),
    ],
)
def test_what_a_terminal_says_counts(environ: dict[str, str], heard: Answers, expected: str) -> None:
    found = support(Terminal(environ, heard), among_text=True)
    assert found.protocol == expected
    assert all(verdict.why.isprintable() for verdict in verdicts(Terminal(environ, heard), among_text=True).values())


def test_printed_pictures_need_no_certain_kitty() -> None:
    old = Terminal(XTERM, Answers("kitty(0.26.5)", NONE, kitty=True))
    assert support(old).protocol == "kitty" and support(old, among_text=True).protocol == "half"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "half"),
        ("kitty(0.26.5)", "half"),
        ("kitty(0.27.99)", "half"),
        ("kitty(0.28.0)", "kitty"),
        ("kitty(0.35.1)", "kitty"),
        ("kitty(1.0.0)", "kitty"),
        ("ghostty 1.1.3", "kitty"),
        ("WezTerm 20240203-110809-5046fc22", "iterm"),
        ("notkitty(0.35.1)", "half"),
        ("kitty", "half"),
        ("\x00\x9b31m\u202e", "half"),
    ],
)
def test_kitty_shows_pictures_among_text_from_0_28_on(name: str, expected: str) -> None:
    found = support(Terminal({"TERM": "xterm-kitty"}, Answers(name)), among_text=True)
    assert (found.protocol, found.depth) == (expected, "truecolor")
    assert found.reason.endswith(".") and found.reason.isprintable()

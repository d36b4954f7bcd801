"""What a terminal can show is read from its environment, and which kitty it is, it says itself."""

import pytest

from sdterm.tui.picture.support import is_to_be_asked, support, support_among_text

TRUE = {"COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("text", "mono")),
        ({"TERM": "dumb"}, ("text", "mono")),
        ({"TERM": "vt220"}, ("half", "mono")),
        ({"TERM": "linux"}, ("half", "16")),
        ({"TERM": "xterm"}, ("half", "16")),
        ({"TERM": "xterm-256color"}, ("half", "256")),
        ({"TERM": "xterm-256color"} | TRUE, ("half", "truecolor")),
        ({"TERM": "xterm-kitty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"} | TRUE, ("kitty", "truecolor")),
        ({"TERM": "xterm-ghostty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, ("kitty", "truecolor")),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, ("half", "truecolor")),
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
    found = support(environ)
    assert (found.protocol, found.depth) == expected
    assert found.reason.endswith(".")


def test_a_users_choice_counts_over_what_is_known() -> None:
    tmux = {"TERM": "tmux-256color", "TMUX": "socket,1,0"}
    assert support(tmux, "kitty").protocol == support_among_text(tmux, "kitty").protocol == "kitty"
    assert support({"TERM": "xterm-kitty"}, "off").protocol == "off"
    assert support_among_text({"TERM": "xterm-kitty"}, "kitty", "kitty(0.26.5)").protocol == "kitty"
    assert support({"TERM": "xterm"}, "sixel").protocol == "half", "with sixteen colours there is nothing better"


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
        ("WezTerm 20240203-110809-5046fc22", "half"),
        ("notkitty(0.35.1)", "half"),
        ("kitty", "half"),
        ("\x00\x9b31m\u202e", "half"),
    ],
)
def test_kitty_shows_pictures_among_text_from_0_28_on(name: str, expected: str) -> None:
    kitty = {"TERM": "xterm-kitty"}
    found = support_among_text(kitty, name=name)
    assert (found.protocol, found.depth) == (expected, "truecolor")
    assert found.reason.endswith(".") and found.reason.isprintable()


def test_only_what_may_be_kitty_is_asked() -> None:
    assert is_to_be_asked({"TERM": "xterm-ghostty"})
    for environ in (
        {"TERM": "foot"},
        {"TERM": "xterm-256color"},
        {"TERM": "screen", "STY": "1", "KITTY_WINDOW_ID": "1"},
    ):
        assert not is_to_be_asked(environ)
        assert support_among_text(environ, name="kitty(0.35.1)") == support(environ)

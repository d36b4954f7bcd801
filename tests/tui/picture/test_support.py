"""What a terminal can show is read from its environment."""

import pytest

from sdterm.tui.picture.support import protocol, support

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
    assert protocol("kitty", tmux) == "kitty"
    assert protocol("off", {"TERM": "xterm-kitty"}) == "off"
    assert protocol("auto", {"TERM": "xterm-kitty"}) == "kitty"

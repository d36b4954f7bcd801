"""Terminals are asked all at once, and their answers understood: late, in pieces, never, or with malice."""

import time

import pytest

from sdterm.tui.picture.asking import Answers, Ear, questions
from sdterm.tui.picture.driver import AnswerFilter, TerminalAnswered

FOOT = "\x1bP>|foot(1.13.1)\x1b\\\x1b_Gi=31;ENOTSUP\x1b\\\x1b[?1;0;1024S\x1b[?62;4;22c"
KITTY = "\x1bP>|kitty(0.35.2)\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[6;20;9t\x1b[4;480;720t\x1b[?62;c"
XTERM = "\x1bP>|XTerm(379)\x1b\\\x1b[4;480;800t\x1b[?1;0;16S\x1b[?63;1;2;4;6;9;15;22c"
ALACRITTY = "\x1b[?6c"


def heard(*pieces: str) -> tuple[Answers, str]:
    """What is understood of these, and what is left for the keyboard."""
    ear, typed, answers = Ear((80, 24)), "", Answers()
    for piece in pieces:
        for part in ear.sift(piece):
            if isinstance(part, str):
                typed += part
            else:
                answers = part[0]
    return answers, typed + ear.held


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (FOOT, Answers("foot(1.13.1)", frozenset({4, 22}), False, None, 1024)),
        (KITTY, Answers("kitty(0.35.2)", frozenset(), True, (9, 20), 0)),
        (XTERM, Answers("XTerm(379)", frozenset({1, 2, 4, 6, 9, 15, 22}), False, (10, 20), 16)),
        (ALACRITTY, Answers()),
    ],
    ids=["foot", "kitty", "xterm", "alacritty"],
)
def test_answers_are_understood_in_one_piece_and_in_many(said: str, understood: Answers) -> None:
    assert heard("a" + said + "b\x1b[A") == (understood, "ab\x1b[A")
    assert heard(*"a", *said, *"b\x1b[A") == (understood, "ab\x1b[A")
    assert Answers.of_json(understood.as_json()) == understood


@pytest.mark.parametrize(
    "said",
    [
        "\x1b[6;99999;0t\x1b[?1c",
        "\x1b[4;1;1t\x1b[?;;;c",
        "\x1b[?1;3;9S\x1b[?1c",
        "\x1b_Gi=99;OK\x1b\\\x1b[?1c",
        "\x1b_Gi=31;OK;rm\x1b\\\x1b[?1c",
    ],
)
def test_nonsense_is_no_answer(said: str) -> None:
    assert heard(said) == (Answers(), "")


def test_a_name_is_kept_as_it_is_and_never_longer_than_a_line() -> None:
    assert heard("\x1bP>|\x9b31m\u202e\x07\x1b[?1c")[0].name == "\x9b31m\u202e"
    assert heard("\x1bP>|" + 100_000 * "x" + "\x1b\\\x1b[?1c")[0].name == ""


def test_keys_around_the_pieces_of_answers_are_heard_at_their_time() -> None:
    ears = AnswerFilter()
    ears.listen((80, 24))
    parts = [part for piece in ("a", "\x1b[A", *FOOT, "b", *FOOT) for part in ears.sift(piece) if part]
    answers = [part for part in parts if isinstance(part, TerminalAnswered)]
    assert [answer.is_all for answer in answers] == [False, False, False, True], "asked once, answered once"
    typed = [part for part in parts if isinstance(part, str)]
    assert typed[:3] == ["a", "\x1b[A", "b"] and "".join(typed[3:]) == FOOT


@pytest.mark.parametrize("key", ["\x1b", "\x1bP", "\x1b[6"], ids=["Escape", "Alt+P", "a part of Page Down"])
def test_a_key_is_heard_though_an_answer_may_begin_like_it(key: str) -> None:
    ears = AnswerFilter()
    ears.listen((80, 24))
    assert [*ears.sift(key)] == [""]
    while not (late := ears.overdue()):
        time.sleep(0.01)  # its own clock
    assert late == key and not ears.overdue()


def test_what_does_not_listen_holds_nothing() -> None:
    assert [*AnswerFilter().sift("\x1b")] == ["\x1b"]


def test_each_terminal_is_asked_what_it_understands() -> None:
    asked = questions({"TERM": "xterm-256color"}, cell_is_known=False)
    assert asked.endswith("\x1b[c") and all(part in asked for part in ("\x1b[>q", "\x1b_Gi=31", "\x1b[16t", "\x1b[14t"))
    assert "t" not in questions({"TERM": "xterm-256color"}, cell_is_known=True).replace("t=d", "")
    apple = questions({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, cell_is_known=True)
    assert "\x1b_" not in apple and apple.endswith("\x1b[c"), "it prints what it does not know"
    assert questions({"TERM": "tmux-256color", "TMUX": "socket,1,0"}, cell_is_known=False) == "\x1b[c"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TERM": "dumb"},
        {"TERM": "linux"},
        {"TERM": "vt100"},
        {"TERM": "xterm", "NO_COLOR": "1"},
        {"TERM": "screen", "STY": "1.pts"},
        {"TERM": "xterm", "ZELLIJ": "0"},
    ],
)
def test_nobody_is_asked_whose_answer_would_change_nothing(environ: dict[str, str]) -> None:
    assert questions(environ, cell_is_known=False) == ""


@pytest.mark.parametrize("value", [None, [], "x", {}, {"name": 1}, {"name": "x", "abilities": ["4"], "kitty": True}])
def test_what_was_remembered_wrongly_is_forgotten(value: object) -> None:
    assert Answers.of_json(value) is None

"""Pictures in terminals that answer nothing: each gets its own kind, and none is asked anything."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.pseudo_terminal import PseudoTerminal
from tests.tui.picture.reader import distance, kitty_pictures, sixel_picture

Start = Callable[..., PseudoTerminal]

QUESTION = re.compile(r"\x1b\[[>?=]?[\d;]*(c|n|q|t|\$p)|\x1b\]\d+;[^\x1b\x07]*\?|\x1b_G[^;\x1b]*a=q|\x1bP\+q")


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    started: list[PseudoTerminal] = []

    def start(*words: str, **env: str) -> PseudoTerminal:
        started.append(PseudoTerminal(data, *words, cell=(0, 0), **env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def saved(terminal: PseudoTerminal) -> Path:
    """Where the picture is. Nothing was asked, and nothing went wrong."""
    terminal.until_it_ends()
    assert terminal.process.returncode == 0
    assert "Traceback" not in terminal.sent and not QUESTION.search(terminal.sent)
    path = re.search(r"Saved (.*\.png)", terminal.sent)
    assert path
    return Path(path[1])


def pixels(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


WORDS = ("generate", "red circle, blue background", "--steps", "4", "--seed", "3")


def test_foot_is_sent_sixel(start: Start) -> None:
    terminal = start(*WORDS, TERM="foot")
    picture = pixels(saved(terminal))
    sixel = re.search(r"\x1bP0.*?\x1b\\", terminal.sent, re.DOTALL)
    assert sixel
    for defining_selects in (False, True):
        shown = sixel_picture(sixel[0], defining_selects=defining_selects)
        assert shown.size == (360, 360), "18 rows of 20 pixels, six less than the terminal has"
        assert distance(shown, picture) < 10


def test_kitty_of_any_version_is_sent_the_whole_picture(start: Start) -> None:
    terminal = start(*WORDS, TERM="xterm-kitty")
    picture = pixels(saved(terminal))
    ((keys, shown),) = kitty_pictures(terminal.sent).values()
    assert "U" not in keys, "no placeholders, which not every kitty has"
    assert (keys["c"], keys["r"]) == ("36", "18")
    assert shown.tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    ("env", "cell"),
    [({"TERM": "xterm-256color"}, "\x1b[38;5;"), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "[░▒▓█]")],
    ids=["coloured", "shaded"],
)
def test_any_other_gets_cells(env: dict[str, str], cell: str, start: Start) -> None:
    terminal = start(*WORDS, **env)
    saved(terminal)
    assert re.search(cell.replace("\x1b[3", r"\x1b\[3"), terminal.sent) and "\x1bP" not in terminal.sent


@pytest.mark.heavy
def test_the_setting_for_previews_counts_here_too(start: Start) -> None:
    terminal = start(*WORDS, TERM="foot", SDTERM_PREVIEW="text")
    saved(terminal)
    assert "\x1bP" not in terminal.sent and "▀" not in terminal.sent


def test_a_job_whose_picture_is_gone_is_told_without_it(start: Start) -> None:
    saved(start(*WORDS, TERM="foot")).unlink()
    terminal = start("attach", TERM="foot")
    saved(terminal)
    assert "The picture cannot be shown: No such file or directory." in terminal.sent and "\x1bP" not in terminal.sent

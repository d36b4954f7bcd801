"""The workstation in terminals that are played here, byte by byte: each is asked once, and gets what it says it has."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from functools import partial

import psutil
import pytest
from PIL import Image

from sdterm.tui.picture.asking import questions
from tests.host.running import Running
from tests.pseudo_terminal import WITHIN, PseudoTerminal
from tests.tui.conftest import add_picture

QUESTION = questions({"TERM": "xterm-kitty"}, cell_is_known=True)
END = "\x1b[?62;c"
NEW, OLD = (f"\x1bP>|kitty({version})\x1b\\\x1b_Gi=31;OK\x1b\\{END}" for version in ("0.35.2", "0.26.5"))
FOOT = "\x1bP>|foot(1.13.1)\x1b\\\x1b[?1;0;1024S\x1b[?62;4;22c"
KONSOLE = "\x1bP>|Konsole 22.12.3\x1b\\\x1b[?62;1;4c"
WEZTERM = "\x1bP>|WezTerm 20240203-110809-5046fc22\x1b\\\x1b[?65;4;6;18;22c"


@pytest.fixture(scope="module")
def host(host: Running) -> Running:
    """It has one picture to show."""
    picture = Image.radial_gradient("L").convert("RGB").resize((128, 128))
    add_picture(host, "a lake\nSteps: 1, Sampler: Euler, Seed: 1, Size: 128x128", picture=picture)
    return host


Start = Callable[..., PseudoTerminal]


@pytest.fixture
def start(host: Running) -> Iterator[Start]:
    """Runs `sdterm …` in such a terminal."""
    started: list[PseudoTerminal] = []

    def start(*words: str, colours: str = "", term: str = "xterm-kitty", says: str = "") -> PseudoTerminal:
        started.append(PseudoTerminal(host.settings.root, *words, says=says, TERM=term, COLORTERM=colours))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def terminal(start: Start, host: Running) -> PseudoTerminal:
    """With the workstation in it, and nothing in the form."""
    (host.settings.root / "draft.json").unlink(missing_ok=True)
    return start()


PICTURE, CELLS, BLOCKS = r"\x1b_Ga=T,U=1", "\U0010eeee", "▀"


def leave(terminal: PseudoTerminal) -> None:
    terminal.type("\x11")  # Ctrl+Q
    terminal.until_it_ends()
    assert terminal.process.returncode == 0


def prompt(host: Running) -> str:
    """What was typed, as it is kept."""
    return str(json.loads((host.settings.root / "draft.json").read_text())["prompt"])


def test_a_kitty_that_is_new_enough_gets_its_own_pictures(terminal: PseudoTerminal, host: Running) -> None:
    terminal.until_sent(re.escape(QUESTION))
    assert "Prompt" in terminal.sent[: terminal.sent.index(QUESTION)], "the first screen is painted before the question"
    terminal.type("ab" + NEW + "c")
    terminal.until_sent(PICTURE)
    terminal.until_sent(CELLS)
    terminal.type("\x1bOP\x1b[F")  # F1, End
    terminal.until_sent("images as kitty")
    leave(terminal)
    assert prompt(host) == "abc" and terminal.sent.count(QUESTION) == 1


@pytest.mark.heavy
def test_a_terminal_that_did_not_answer_is_asked_again_where_its_ways_are_listed(start: Start, host: Running) -> None:
    known = host.settings.root / "cache" / "terminals.json"
    known.unlink(missing_ok=True)
    terminal = start(term="xterm-256color")
    terminal.until_sent(re.escape(QUESTION))
    terminal.until(known.exists, "the end of its patience")
    terminal.type("\x1bp")  # Alt+P
    terminal.until(lambda: terminal.sent.count(QUESTION) == 2, "the question once more")
    terminal.type("\x1b[?62;4;22c")
    terminal.until_sent("The terminal names sixel among its abilities")
    terminal.type("\r")
    leave(terminal)


@pytest.mark.heavy
def test_small_pictures_are_pixels_too_and_are_sent_small(start: Start) -> None:
    terminal = start(colours="truecolor")
    terminal.until_sent(re.escape(QUESTION))
    terminal.type(NEW)
    tile = r"\x1b_Ga=T,U=1,i=\d+,f=100,c=4,r=2,q=2,m=0;[^\x1b]*\x1b"
    terminal.until_sent(tile)
    assert all(len(sent) < 4_000 for sent in re.findall(tile, terminal.sent))
    leave(terminal)
    made, deleted = (re.findall(rf"\x1b_Ga={way},i=(\d+)", terminal.sent) for way in ("T,U=1", "d,d=I"))
    assert {*made} == {*deleted}, "nothing is left in the terminal's memory"


@pytest.mark.heavy
@pytest.mark.parametrize("answer", [OLD, f"\x1bP>|no \x01 version\x1b\\{END}"], ids=["old", "garbage"])
def test_any_other_gets_half_blocks(answer: str, terminal: PseudoTerminal, host: Running) -> None:
    terminal.until_sent(re.escape(QUESTION))
    terminal.type("ab" + answer + "c")
    terminal.until_sent(BLOCKS)
    terminal.type("\x1bOP\x1b[F")
    terminal.until_sent("images as half")
    leave(terminal)
    assert prompt(host) == "abc"
    assert not re.search(PICTURE, terminal.sent) and CELLS not in terminal.sent


@pytest.mark.heavy
def test_a_terminal_that_says_nothing_gets_half_blocks(terminal: PseudoTerminal, host: Running) -> None:
    terminal.type("abc")
    terminal.until_sent(BLOCKS)
    leave(terminal)
    assert prompt(host) == "abc"
    assert not re.search(PICTURE, terminal.sent) and CELLS not in terminal.sent


@pytest.mark.heavy
def test_an_answer_that_comes_late_and_in_pieces_is_no_key(terminal: PseudoTerminal, host: Running) -> None:
    terminal.until_sent(re.escape(QUESTION))
    terminal.until_sent(BLOCKS)
    terminal.type(b"a\xff")  # no UTF-8 either
    for piece in (NEW[:5], NEW[5:10], NEW[10:-1], NEW[-1:] + "b"):
        terminal.type(piece)
        terminal.until_read()
    terminal.until_sent(PICTURE)
    leave(terminal)
    assert prompt(host) == "a\ufffdb"


@pytest.mark.heavy
def test_a_terminal_that_is_cut_off_leaves_nothing_running(terminal: PseudoTerminal) -> None:
    """The system tells it by SIGHUP and SIGCONT, upon each of which Textual starts another thread for keys; and what is
    written from then on is an error."""
    terminal.until_sent("Prompt")
    threads = psutil.Process(terminal.process.pid).num_threads
    for _ in range(5):
        before = threads()
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(partial(lambda before: threads() > before, before), "another thread")
    terminal.cut()
    terminal.process.wait(WITHIN)


@pytest.mark.parametrize(
    ("answer", "protocol"),
    [
        pytest.param(NEW, "kitty", marks=pytest.mark.heavy),
        (OLD, "half"),
        pytest.param("", "half", marks=pytest.mark.heavy),
    ],
    ids=["new", "old", "none"],
)
def test_doctor_names_the_same_and_leaves_no_answer_to_the_shell(answer: str, protocol: str, start: Start) -> None:
    terminal = start("doctor")
    terminal.until_sent(re.escape(QUESTION))
    terminal.type(answer or END)
    terminal.until_sent(f"images as {protocol}")
    terminal.until_it_ends()
    assert not terminal.unread


DRAWN = r"\x1b7\x1b\[\d+;\d+H(\x1bP0.*?\x1b\\|\x1b\]1337;.*?\x07)\x1b8"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("says", "begins"), [(FOOT, "\x1bP0"), (WEZTERM, "\x1b]1337;File=inline=1")], ids=["foot", "WezTerm"]
)
def test_a_terminal_gets_the_pictures_that_it_says_it_has(says: str, begins: str, start: Start, host: Running) -> None:
    """Its name in the environment is xterm's, as over SSH."""
    (host.settings.root / "draft.json").unlink(missing_ok=True)
    terminal = start(term="xterm-256color", says=says)
    terminal.until_sent(BLOCKS)
    terminal.type("\x1br")  # Alt+R chooses a picture in Recent
    terminal.until_sent(DRAWN)
    found = re.search(DRAWN, terminal.sent, re.DOTALL)
    assert found and found[1].startswith(begins) and len(found[1]) <= 20_000
    leave(terminal)


@pytest.mark.heavy
def test_the_column_that_konsole_clears_beside_a_picture_is_written_again(start: Start, host: Running) -> None:
    (host.settings.root / "draft.json").unlink(missing_ok=True)
    terminal = start(term="xterm-256color", says=KONSOLE)
    terminal.until_sent(r"\x1b\]1337;.*?\x07")
    row, column, width = map(int, _found(r"\x1b7\x1b\[(\d+);(\d+)H\x1b\]1337;File=\S*?width=(\d+);", terminal.sent))
    terminal.until_sent(rf"\x07\x1b8.*\x1b\[{row};{column + width}H")
    leave(terminal)


def _found(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    assert found
    return found.groups()


@pytest.mark.heavy
def test_each_terminal_is_asked_once(start: Start) -> None:
    terminal = start("doctor", term="xterm-256color", says=FOOT)
    terminal.until_sent("images as sixel")
    terminal.until_it_ends()
    terminal.run("doctor")
    terminal.until(lambda: terminal.sent.count("images as sixel") == 2, "the second doctor")
    terminal.until_it_ends()
    assert terminal.sent.count(QUESTION) == 1
    other = start("doctor", term="xterm-256color", says=END)
    other.until_sent("images as half")
    other.until_it_ends()
    assert other.sent.count(QUESTION) == 1

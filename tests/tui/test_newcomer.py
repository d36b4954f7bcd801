"""A newcomer's first ten minutes, in a real terminal (tmux) of 80x24: every key is one that the screen names."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.tui.clipboard import refusal
from tests.host.running import Running, running
from tests.tui.test_terminal import Tmux

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data") as found:
        yield found


@pytest.fixture
def tmux(tmp_path: Path, host: Running) -> Iterator[Tmux]:
    found = Tmux(tmp_path, host, TERM="xterm-256color")
    yield found
    found.close()


def choose(tmux: Tmux, words: str) -> None:
    """By the palette, typed in one go."""
    tmux.press("C-p")
    tmux.write(words)
    tmux.press("Enter")


def draw(tmux: Tmux, job: int) -> None:
    tmux.press("F5")
    tmux.until(rf"#{job} done in .*\.png")


@pytest.mark.heavy
def test_ten_minutes(tmux: Tmux, host: Running) -> None:
    tmux.open()
    tmux.until("No image yet: write a prompt,")
    shown = tmux.until("F5 Generate  F8 Vary")
    assert "^P Commands  F1 Help" in shown and "M-x Extensions" in shown

    # the first picture, and five like it
    tmux.write("a castle on a hill")
    draw(tmux, 1)
    tmux.press("F8")
    tmux.until(r"#2 done in .*5 images, the last is")

    # any two of them side by side
    tmux.press("M-2")
    tmux.until("┏━ Recent  1-9 choose, M-1 to M-9 compare")
    tmux.press("M-4")
    tmux.until("What differs")
    tmux.press("Escape")
    tmux.press("F2")
    tmux.until("┏━ Prompt")

    # help about the prompt, and back to it
    tmux.press("F1")
    tmux.until("Here: In a prompt")
    tmux.press("Escape")
    tmux.until(r"\[Generate\]")

    # to the pictures, by the letters that jump mode shows; the third of the five, all of it; and on in the prompt
    tmux.press("C-o")
    letter = re.search(r" (\w) Recent", tmux.until("Press a letter to go there.*Esc: leave"))
    assert letter
    tmux.write(letter[1])
    tmux.until("┏━ Recent")
    tmux.press("Left", "Left")
    tmux.press("Enter")
    tmux.until("In the form now")
    tmux.press("F2")
    tmux.until("┏━ Prompt")
    tmux.write(", at night")
    draw(tmux, 3)
    assert "at night" in host.client.pictures(limit=1).pictures[0].infotext

    # three samplers with the picture's seed, which the status line calls locked
    tmux.until("seed LOCK")
    for job, sampler in ((4, "Euler a"), (5, "Heun"), (6, "DPM++ 2M")):
        choose(tmux, sampler)
        tmux.until(rf"Sampler {re.escape(sampler)} ")
        draw(tmux, job)
    last = [picture for picture in host.client.pictures(limit=10).pictures if picture.job in (4, 5, 6)]
    assert len({picture.seed for picture in last}) == 1 and len({picture.infotext for picture in last}) == 3

    # words that are not there do nothing; a theme is looked at and not taken
    choose(tmux, "frobnicate")
    tmux.until("Nothing matches “frobnicate”")
    tmux.press("Escape")
    tmux.until("┏━ Prompt")

    # the queue names its keys
    tmux.press("F4")
    tmux.until("K Up  J Down")
    tmux.press("F2")
    tmux.until("┏━ Prompt")

    # a job is left running, in two plain words, and is there again
    choose(tmux, "steps")
    tmux.until("┏━ Parameters")
    tmux.press("C-u")
    tmux.write("150")
    tmux.press("F5")
    tmux.until(r"> #7 \d+/150")
    tmux.press("C-q")
    shown = tmux.until(r"Enter +leave, the job continues")
    assert re.search(r"Esc +stay", shown)
    tmux.press("Enter")
    tmux.until("exit code 0")
    tmux.open()
    tmux.until("a castle on a hill, at night")
    tmux.until(r"#7 done|> #7 \d+/150|idle")
    host.events(7)


@pytest.mark.heavy
def test_a_copy_says_what_became_of_it(tmux: Tmux, host: Running) -> None:
    host.events(host.submit(prompt="a castle", steps=2))
    tmux.open()
    tmux.press("F3")
    tmux.until("a castle")
    tmux.press("y")
    shown = tmux.until("Select the text with the terminal")
    assert shown.startswith("a castle\nSteps: 2, Sampler: Euler a"), "the text alone, from the first column on"
    tmux.press("Escape")
    tmux.until(r"Not copied: tmux takes no text from programs \(set-clipboard external\)")
    tmux._call("set", "-s", "set-clipboard", "on")
    tmux.press("y")
    tmux.until("Sent the infotext to the terminal's clipboard")
    assert tmux._call("show-buffer").startswith("a castle\nSteps: 2")
    tmux.press("M-y")
    tmux.until("Select the text with the terminal")


def test_nobody_is_asked_where_there_is_no_tmux() -> None:
    assert refusal({}) == ""
    assert refusal({"TMUX": "/nowhere/socket,1,0"}) == "", "one that does not answer refuses nothing"


@pytest.mark.heavy
def test_it_is_suspended_and_comes_back(tmux: Tmux) -> None:
    tmux.press("set -m; clear", "Enter")
    tmux.open()
    tmux.write("a castle")
    choose(tmux, "suspend")
    tmux.until(r"Stopped|Suspended")
    tmux.press("fg", "Enter")
    assert "a castle" in tmux.until(r"sdterm  \[")

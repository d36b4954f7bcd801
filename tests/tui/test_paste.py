"""What is pasted is text, whatever is in it: exact bytes through a real terminal, cut at every place."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual import constants, events

from sdterm.tui.pasted import harmless
from sdterm.tui.picture.driver import AnswerFilter, Arriving
from sdterm.tui.picture.paste import END, START, Marker, PasteFilter
from tests.host.running import Running
from tests.pseudo_terminal import PseudoTerminal

NASTY = "aa \x1b[31mRED \x1b[0m\ttext\r\x1b[15~\x1b[A\x9b5n\x1bOP\x03\x11\x1b\x1b[20 end\r\nlast"
CLEAN = "aa [31mRED [0m\ttext\n[15~[A5nOP[20 end\nlast"
"""The same without what is no text. (F5, which draws, and Ctrl+Q, which leaves, are in it.)"""


def sifted(*pieces: str) -> tuple[list[str], str]:
    """(the texts of pastes, what was typed around them)."""
    filter_, pasted, typed = PasteFilter(), [], ""
    for piece in pieces:
        for part in filter_.sift(piece):
            if isinstance(part, events.Paste):
                pasted.append(part.text)
            elif not isinstance(part, Marker):
                typed += part
    return pasted, typed


def test_a_paste_cut_anywhere_is_whole() -> None:
    sent = f"ab{START}{NASTY}{END}cd"
    for first in range(len(sent)):
        for pieces in ((sent[:first], sent[first:]), (sent[:first], sent[first : first + 1], sent[first + 1 :])):
            pasted, typed = sifted(*pieces)
            assert pasted == [NASTY]
            begun = typed.removeprefix("ab").removesuffix("cd")  # what a parser was given before it was known
            assert typed.startswith("ab") and typed.endswith("cd") and begun in ("", "\x1b")
    assert sifted(*sent)[0] == [NASTY]


@pytest.mark.few(1)
@pytest.mark.parametrize("is_asked", [False, True], ids=["quiet", "asked"])
@pytest.mark.parametrize("wait", [0.0, constants.ESCAPE_DELAY * 1.5], ids=["at once", "slow"])
def test_a_start_in_pieces_is_no_key(is_asked: bool, wait: float) -> None:
    """Through all that reads what arrives, while the terminal is asked what it is, and not. A lone Esc is a key where
    nothing follows soon."""
    sent = f"{START}a{END}!"
    for cut in range(1 if not wait else 2, len(sent)):
        answers = AnswerFilter()
        if is_asked:
            answers.listen((80, 24))
        arriving, heard = Arriving(answers), []
        for piece in (sent[:cut], "", sent[cut:], ""):
            if not piece:
                time.sleep(wait)
            for message in arriving.messages(piece):
                heard.append(message.text if isinstance(message, events.Paste) else getattr(message, "key", message))
        assert heard == ["a", "exclamation_mark"], sent[:cut]


def test_keys_that_begin_like_a_paste_are_keys() -> None:
    for key in ("\x1b", "\x1b[2~", "\x1b[20~", "\x1b[24;80R"):
        assert sifted(*key) == ([], key)
        assert sifted(key) == ([], key)


def test_two_pastes_are_two() -> None:
    assert sifted(f"{START}a{END}{START}b{END}c") == (["a", "b"], "c")


def test_control_characters_are_counted_and_left_out() -> None:
    assert harmless(NASTY) == (CLEAN, 10)


@pytest.fixture
def terminal(host: Running) -> Iterator[PseudoTerminal]:
    """The workstation, open on an empty form."""
    (host.settings.root / "draft.json").unlink(missing_ok=True)
    terminal = PseudoTerminal(host.settings.root)
    try:
        terminal.until_sent(r"\[Generate\]")
        terminal.until_sent(r"idle")
        yield terminal
    finally:
        terminal.close()


def draft(root: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((root / "draft.json").read_text(encoding="utf-8"))
        return content
    except OSError:
        return {}


def jobs(host: Running) -> int:
    return len(host.client.jobs(limit=50).jobs)


def test_a_paste_of_keys_is_text_through_a_real_terminal(host: Running, terminal: PseudoTerminal) -> None:
    before, sent = jobs(host), f"{START}{NASTY}{END}!".encode()
    for piece in re.findall(rb"\x1b?.", sent, re.DOTALL):  # an Esc that stays alone, as between two turns, is a key
        terminal.type(piece)
        terminal.until_read()
    wanted = CLEAN + "!"
    terminal.until(lambda: draft(host.settings.root).get("prompt") == wanted, repr(wanted))
    terminal.until_sent("10 control character")
    assert draft(host.settings.root)["negative_prompt"] == "" and not draft(host.settings.root)["fields"]
    assert jobs(host) == before and terminal.process.poll() is None


@pytest.mark.heavy
def test_a_large_paste_arrives_whole_and_in_its_order(host: Running, terminal: PseudoTerminal) -> None:
    lines = [f"{number} \x1b[31mred\x1b[0m\ttree" for number in range(2900)]
    wanted = "\n".join(lines).replace("\x1b", "") + "!"
    assert len(wanted) > 58_000
    began = time.monotonic()
    sent = f"{START}{chr(13).join(lines)}{END}!".encode()
    for at in range(0, len(sent), 2000):
        terminal.type(sent[at : at + 2000])
        terminal.until_read()
    terminal.until(lambda: draft(host.settings.root).get("prompt") == wanted, "all lines")
    assert time.monotonic() - began < 30  # it took 40 s, and most of it went elsewhere


@pytest.mark.heavy
def test_a_paste_that_does_not_end_is_text_and_keys_are_keys_again(host: Running, terminal: PseudoTerminal) -> None:
    terminal.type(f"{START}one\ttwo")
    terminal.until(lambda: draft(host.settings.root).get("prompt") == "one\ttwo", "what was there of it")
    terminal.type(", and some more than a key\tof it")
    more = "one\ttwo, and some more than a key\tof it"
    terminal.until(lambda: draft(host.settings.root).get("prompt") == more, "what the line held up")
    terminal.type("x")
    terminal.until(lambda: draft(host.settings.root).get("prompt") == more + "x", "a key")
    terminal.type("\t")
    terminal.type("y")
    terminal.until(lambda: draft(host.settings.root).get("negative_prompt") == "y", "Tab, which is a key again")

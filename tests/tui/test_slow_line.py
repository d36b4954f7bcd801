"""A terminal at the end of a slow line."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.running import Running, running
from tests.pseudo_terminal import PseudoTerminal

QUESTION = "\x1b[6n"
F2, F5, ALT_P, ALT_R = "\x1bOQ", "\x1b[15~", "\x1bp", "\x1br"


class SlowLine(PseudoTerminal):
    """Carries 7 KB a second; the terminal behind it says where its cursor is."""

    rate = 7_000
    answered = 0

    def _read(self, patience: float) -> bool:
        if not select.select([self._ours], [], [], patience)[0]:
            return False
        chunk = os.read(self._ours, 512)
        self.sent += self._decode(chunk)
        time.sleep(len(chunk) / self.rate)
        while self.answered < self.sent.count(QUESTION):
            self.type("\x1b[1;1R")
            self.answered += 1
        return True


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as found:
        yield found


@pytest.mark.heavy
def test_a_slow_line_ends_previews_and_a_choice_brings_them_back(host: Running) -> None:
    terminal = SlowLine(host.settings.root, COLORTERM="truecolor", TERM="xterm-256color", SDTERM_STEPS="1000")
    try:
        terminal.until_sent("idle")
        terminal.type("lake")
        terminal.type(F5)
        terminal.until_sent("Slow line: no live previews")
        asked = terminal.sent.count(QUESTION)
        assert 3 <= asked < 8, "one for the way there and back, and one a frame; of small ones more are looked at"
        terminal.type(ALT_P)
        terminal.until_sent("How images are shown")
        assert terminal.sent.count(QUESTION) == asked
        terminal.type("half\r")
        terminal.until(lambda: terminal.sent.count(QUESTION) > asked, "another preview")
        assert terminal.sent.count("Slow line") == 1
    finally:
        terminal.close()
        for job in host.client.jobs().jobs:
            host.client.cancel(job.id)


def test_to_recent_and_back_to_the_prompt_writes_only_what_changes(host: Running) -> None:
    terminal = PseudoTerminal(host.settings.root, TERM="xterm-256color")
    try:
        terminal.until_sent("idle")
        here = len(terminal.sent)
        terminal.type(ALT_R)
        terminal.until(lambda: "1-9 c" in terminal.sent[here:], "the title that Recent has with the focus")
        there = len(terminal.sent)
        terminal.type(F2)
        terminal.until(lambda: "M-r" in terminal.sent[there:], "its title without")
        assert "Gallery" not in terminal.sent[here:], "the top line did not change"
        terminal.type(F2)  # in the prompt: what is wrong on the screen is mended
        terminal.until(lambda: "Gallery" in terminal.sent[here:], "all of the screen")
    finally:
        terminal.close()

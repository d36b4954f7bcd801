"""A terminal for programs that ask terminals: what it answers, if anything, is the test's to say."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
WITHIN = 60.0  # seconds
WHAT_CAN_YOU_DO = "\x1b[c"


class PseudoTerminal:
    """80x24 cells, and `sdterm …` in them. cell: their size in pixels, as far as anybody knows it; says: what it
    answers when it is asked what it can do; env: more of the program's environment."""

    def __init__(self, data: Path, *words: str, cell: tuple[int, int] = (10, 20), says: str = "", **env: str) -> None:
        self._ours, self._its = pty.openpty()
        size = struct.pack("HHHH", 24, 80, 80 * cell[0], 24 * cell[1])
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, size)
        left_out = ("NO_COLOR", "COLORTERM", "TERM_PROGRAM", "TMUX", "STY")
        kept = {k: v for k, v in os.environ.items() if k not in left_out and not k.startswith("SDTERM")}
        ours = {"SDTERM_DATA": str(data), "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8"}
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.sent = ""
        self._is_cut = False
        self._says, self._said = says, 0
        self._env = kept | ours | env
        self.run(*words)

    def run(self, *words: str) -> None:
        """Start `sdterm …` in it, after the one before has ended."""
        command = [sys.executable, "-m", "sdterm", *words]
        self.process = subprocess.Popen(command, stdin=self._its, stdout=self._its, stderr=self._its, env=self._env)

    def type(self, text: str | bytes) -> None:
        os.write(self._ours, text.encode() if isinstance(text, str) else text)

    def until(self, wanted: Callable[[], object], what: str) -> None:
        """Read what is sent until it is enough."""
        end = time.monotonic() + WITHIN
        while not wanted():
            assert time.monotonic() < end, f"{what} never came: {self.sent[-3000:]!r}"
            self._read(0.2)

    def until_sent(self, pattern: str) -> None:
        self.until(lambda: re.search(pattern, self.sent), pattern)

    def until_read(self) -> None:
        """Wait until the program has taken in what was typed."""
        self.until(lambda: not self.unread, "a look at what was typed")

    def until_it_ends(self) -> None:
        self.until(lambda: self.process.poll() is not None, "the end")
        while self._read(0):
            pass

    @property
    def unread(self) -> int:
        """Bytes that were typed and wait for whoever reads next: the program, and behind it the shell."""
        return int(struct.unpack("i", fcntl.ioctl(self._its, termios.FIONREAD, bytes(4)))[0])

    def cut(self) -> None:
        """As when the line is cut: nobody is at the other end any more."""
        self.process.send_signal(signal.SIGHUP)
        os.close(self._its)
        os.close(self._ours)
        self._is_cut = True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if not self._is_cut:
            self.cut()

    def _read(self, patience: float) -> bool:
        if not select.select([self._ours], [], [], patience)[0]:
            return False
        self.sent += self._decode(os.read(self._ours, 65536))
        while self._says and self._said < self.sent.count(WHAT_CAN_YOU_DO):
            self._said += 1
            self.type(self._says)
        return True

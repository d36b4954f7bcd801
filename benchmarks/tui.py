"""What the workstation costs: `python -m benchmarks.tui` prints one line of JSON.

first_paint   from the start of the process to a first screen, over a bare Textual screen of as many widgets
typed_ahead   keys typed before there is a screen that were lost
key           from a key to its letter on the screen: idle and while drawing
line          over 64 and 8 KB/s, 150 ms each way: the first paint after its first byte, a key beyond those 300 ms
idle          bytes a second that an idle workstation sends
economy       bytes in 256 colours: start, a screen's first visit (over a whole paint of it), Tab, a letter, the palette
frame         bytes of a preview as half blocks, for kitty, and as sixel
memory        resident, of the interface's process
gallery       from the key to the first page of ten thousand pictures

Everything goes through a pseudo terminal that answers what a terminal would; candidates take turns.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
from PIL import Image

from benchmarks.engine import ROOT, alternate, machine, summary
from sdterm.client import connect
from sdterm.core.settings.paths import prepare
from sdterm.core.settings.settings import resolve

COLUMNS, ROWS = 80, 24
LINES = (64_000, 8_000)  # bytes a second
DELAY = 0.15  # seconds each way
MIB = 2**20
_SYNCHRONIZED_ASKED = b"\x1b[?2026$p"
LETTERS = "QWXZJKVY"  # they stand nowhere else on the screen, nor in what moves the cursor

BARE = """
    from textual.app import App
    from textual.containers import Horizontal, Vertical
    from textual.widgets import Input, Label, Static, TextArea

    class Bare(App):
        CSS = "Horizontal { height: 1; } Input { width: 8; } #desk { height: 1fr; } Static { height: 1; }"

        def compose(self):
            yield Static("top")
            with Horizontal():
                yield Label("label")
                yield Input(compact=True)
            with Horizontal(id="desk"):
                with Vertical():
                    yield TextArea(compact=True)
                    yield TextArea(compact=True)
                    with Vertical():
                        for fields in (2, 3, 2, 3):
                            with Horizontal():
                                for _ in range(fields):
                                    yield Label("label")
                                    yield Input("value", compact=True)
                    yield Static("recent")
                yield Static("picture")
            yield Static("note")
            yield Static("status")
            yield Static("Commands")

    Bare().run()
"""


class Terminal:
    """A program in a pseudo terminal, and all that it has written."""

    def __init__(
        self, command: list[str], data: Path, size: tuple[int, int] = (COLUMNS, ROWS), colours: str = "truecolor"
    ) -> None:
        self.pid, self._file = pty.fork()
        if not self.pid:
            environ = {k: v for k, v in os.environ.items() if k not in ("TMUX", "NO_COLOR", "COMMANDLINE_ARGS")}
            environ |= {"TERM": "xterm-256color", "COLORTERM": colours, "SDTERM_DATA": str(data)}
            os.execvpe(command[0], command, {**environ, "PYTHONPATH": str(ROOT)})
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.began = time.perf_counter()
        self.seen = b""
        self.rate: float | None = None  # bytes a second that are read; None: all there are
        self.delay = 0.0  # seconds each way
        self._free_at = 0.0  # when the line has carried what was read
        self._down: deque[tuple[float, bytes]] = deque()  # what is under way, and when it arrives
        self._up: deque[tuple[float, bytes]] = deque()

    def press(self, keys: str) -> None:
        self._up.append((time.perf_counter() + self.delay, keys.encode()))
        self._arrive()

    def read(self, seconds: float) -> int:
        """Read for so long. Returns how many bytes came."""
        return self._read(seconds, lambda: False)

    def until(self, text: str, limit: float = 60.0) -> float:
        """Read until that text comes. Returns the seconds it took."""
        start, begun = len(self.seen), time.perf_counter()
        wanted = text.encode()
        self._read(limit, lambda: wanted in self.seen[max(0, start - len(wanted)) :])
        if wanted not in self.seen[max(0, start - len(wanted)) :]:
            raise RuntimeError(f"{text!r} never came; the last was {self.seen[-300:]!r}")
        return time.perf_counter() - begun

    def _read(self, seconds: float, enough: Callable[[], bool]) -> int:
        before, deadline = len(self.seen), time.perf_counter() + seconds
        while (now := time.perf_counter()) < deadline and not enough():
            times = [deadline, now + 0.05, *(way[0][0] for way in (self._down, self._up) if way)]
            if now < self._free_at:
                time.sleep(max(0.0, min(*times, self._free_at) - now))
            elif select.select([self._file], [], [], max(0.0, min(times) - now))[0]:
                try:
                    chunk = os.read(self._file, 65536 if self.rate is None else 1024)
                except OSError:  # it has ended
                    break
                self._free_at = time.perf_counter() + (len(chunk) / self.rate if self.rate else 0.0)
                self._down.append((self._free_at + self.delay, chunk))
            self._arrive()
        return len(self.seen) - before

    def _arrive(self) -> None:
        """At both ends, what has been under way for long enough."""
        now = time.perf_counter()
        while self._down and self._down[0][0] <= now:
            chunk = self._down.popleft()[1]
            self.seen += chunk
            answers = b"\x1b[1;1R" * chunk.count(b"\x1b[6n")  # the one question that is asked again and again
            if _SYNCHRONIZED_ASKED in chunk:
                answers += b"\x1b[?2026;2$y"
            if answers:
                self._up.append((now + self.delay, answers))
        while self._up and self._up[0][0] <= now:
            os.write(self._file, self._up.popleft()[1])

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._file)


def workstation(data: Path) -> Terminal:
    return Terminal([sys.executable, "-P", "-m", "sdterm"], data)


def first_paint(data: Path, pairs: int) -> dict[str, Any]:
    bare = data / "bare.py"
    bare.write_text(dedent(BARE))

    def painted(make: Callable[[], Terminal]) -> float:
        with closing(make()) as terminal:
            terminal.until("Commands")
            return time.perf_counter() - terminal.began

    found = alternate(
        pairs,
        lambda: painted(lambda: workstation(data)),
        lambda: painted(lambda: Terminal([sys.executable, str(bare)], data)),
    )
    ours, theirs = zip(*found, strict=True)
    return {
        "ratio": summary(a / b for a, b in found),
        "best_ratio": round(min(ours) / min(theirs), 3),
        "ms": {"sdterm": summary(1e3 * x for x in ours), "bare": summary(1e3 * x for x in theirs)},
    }


def typed_ahead(data: Path) -> dict[str, Any]:
    """Keys that come before anybody reads them."""
    (data / "draft.json").unlink(missing_ok=True)
    typed = "lake with a red boat"
    with closing(workstation(data)) as terminal:
        terminal.press(typed)
        terminal.until("Commands")
        terminal.read(2)
        terminal.press("\x11")  # Ctrl+Q
        terminal.read(1)
    kept = json.loads((data / "draft.json").read_text())["prompt"]
    (data / "draft.json").unlink()
    return {"typed": len(typed), "lost": len(typed) - len(kept)}


def keys(terminal: Terminal, count: int) -> list[float]:
    """Seconds from a key to its letter."""
    found = []
    for number in range(count):
        letter = LETTERS[number % len(LETTERS)]
        terminal.read(0.12)
        at = len(terminal.seen)
        begun = time.perf_counter()
        terminal.press(letter)
        terminal._read(10, lambda at=at, letter=letter: letter.encode() in terminal.seen[at:])  # type: ignore[misc]
        found.append(time.perf_counter() - begun)
    return found


def latency(values: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(values, n=20)
    return {"p50": round(1e3 * statistics.median(values), 1), "p95": round(1e3 * cut[18], 1), "n": len(values)}


@contextmanager
def opened(data: Path) -> Iterator[Terminal]:
    """A workstation that has found its host and come to rest."""
    with closing(workstation(data)) as terminal:
        terminal.until("idle")
        terminal.read(3)
        yield terminal


def drawing(terminal: Terminal) -> None:
    """Have a picture drawn that takes longer than we look."""
    terminal.press("lake")
    terminal.press("\x1b[15~")  # F5
    terminal.until("/1000")


def responsiveness(data: Path, count: int) -> dict[str, Any]:
    (data / "config.toml").write_text("steps = 1000\n")
    found: dict[str, Any] = {}
    with opened(data) as terminal:
        found["idle_ms"] = latency(keys(terminal, count))
        quiet = [terminal.read(1) for _ in range(8)]
        found["idle_bytes_a_second"] = {"median": statistics.median(quiet), "max": max(quiet)}
        process = psutil.Process(terminal.pid)
        found["resident_mib"] = round(process.memory_info().rss / MIB, 1)
        drawing(terminal)
        found["drawing_ms"] = latency(keys(terminal, count))
        used = sum(process.cpu_times()[:2])
        terminal.read(5)
        found["drawing_cpu_share"] = round((sum(process.cpu_times()[:2]) - used) / 5, 3)
        found["resident_after_mib"] = round(process.memory_info().rss / MIB, 1)
    return found


def lines(data: Path, count: int) -> dict[str, Any]:
    """A user far away; the jobs are cancelled."""
    return {f"{rate // 1000}KB/s": _over(data, rate, count) for rate in LINES}


def _over(data: Path, rate: float, count: int) -> dict[str, Any]:
    with closing(Terminal([sys.executable, "-P", "-m", "sdterm"], data)) as terminal:
        terminal.rate, terminal.delay = rate, DELAY
        terminal.until("\x1b")
        first_byte = time.perf_counter()
        terminal.until("Commands")
        found: dict[str, Any] = {"first_paint_ms": round(1e3 * (time.perf_counter() - first_byte + DELAY))}
        terminal.until("idle")
        terminal.read(3)
        found["idle_ms"] = latency(beyond(keys(terminal, count)))
        drawing(terminal)
        terminal.until("\x1b[6n", 180)  # the first preview
        terminal.read(10)
        found["previews_off_said"] = "Slow line" in terminal.seen.decode(errors="replace")
        found["drawing_ms"] = latency(beyond(keys(terminal, count)))
        found["drawing_bytes_a_second"] = terminal.read(5) // 5
    with connect(resolve({}, {"SDTERM_DATA": str(data)})) as host:
        for job in host.jobs().jobs:
            if job.state in ("running", "queued"):
                host.cancel(job.id)
    return found


def beyond(times: list[float]) -> list[float]:
    """What is not the line's own."""
    return [seconds - 2 * DELAY for seconds in times]


SIZES = ((80, 24), (160, 48))
SCREENS = {"gallery": "\x1bOR", "queue": "\x1bOS", "models": "\x0c", "settings": "\x1b[21~", "help": "\x1bOP"}
"""The screens, and the key of each."""


def economy(data: Path) -> dict[str, Any]:
    """Bytes that things cost, with a picture in the form."""
    return {f"{columns}x{rows}": _bytes(data, (columns, rows)) for columns, rows in SIZES}


def _bytes(data: Path, size: tuple[int, int]) -> dict[str, Any]:
    with closing(Terminal([sys.executable, "-P", "-m", "sdterm"], data, size, "")) as terminal:

        def cost(keys: str) -> int:
            """Bytes until nothing more comes."""
            terminal.press(keys)
            before = len(terminal.seen)
            while terminal.read(1.5):
                pass
            return len(terminal.seen) - before

        terminal.until("idle")
        cost("")
        found: dict[str, Any] = {"start": len(terminal.seen), "tab": cost("\t")}
        cost("\x1b[Z")
        found["letter"] = cost("x")
        found["palette"] = {"open": cost("\x10"), "close": cost("\x1b")}
        visits = {name: (cost(key), cost(key)) for name, key in SCREENS.items()}  # the second time it is written anew
        found["first_visit"] = {name: {"bytes": a, "paints": round(a / b, 2)} for name, (a, b) in visits.items()}
        found["synchronized_asked"] = terminal.seen.count(_SYNCHRONIZED_ASKED)
        return found


def frames() -> dict[str, int]:
    """A frame of a picture that is hard to compress: noise over a photograph's colours."""
    from rich.console import Console

    from sdterm.tui.picture import kitty, sixel
    from sdterm.tui.picture.characters import characters

    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    out = BytesIO()
    picture.save(out, "JPEG", quality=80)
    picture = Image.open(out).convert("RGB")
    console = Console(color_system="truecolor")
    strips = characters(picture, 32, 16, "truecolor", 14_000)
    return {
        "half_bytes": sum(len(strip.render(console).encode()) for strip in strips),
        "kitty_bytes": len(kitty.transmit(1, kitty.encode(picture, kitty.free_bytes(32, 16)), 32, 16)),
        "sixel_bytes": len(sixel.encode(picture, 32, 16, (10, 20), sixel.LIMIT)),
    }


def gallery(data: Path, runs: int) -> dict[str, Any]:
    """Ten thousand pictures; the files are one file."""
    times = []
    for _ in range(runs):
        with opened(data) as terminal:
            terminal.press("\x1bOR")  # F3
            times.append(1e3 * terminal.until("10000 image"))
    return {"ms": summary(times)}


def fill(data: Path) -> None:
    """Put ten thousand pictures into the host's database, while it is not running."""
    import sqlite3

    from sdterm.core.settings.rundir import run_folder_of

    run_folder = run_folder_of(resolve({}, {"SDTERM_DATA": str(data)}).root)
    with closing(sqlite3.connect(run_folder.database)) as database:
        row = database.execute("SELECT * FROM pictures WHERE saved IS NOT NULL LIMIT 1")
        names = [column[0] for column in row.description]
        picture = dict(zip(names, row.fetchone(), strict=True))
        have = database.execute("SELECT count(*) FROM pictures").fetchone()[0]
        marks = ", ".join("?" * (len(names) - 1))
        for number in range(10_000 - have):
            values = {**picture, "number": 10 + number}
            database.execute(
                f"INSERT INTO pictures ({', '.join(n for n in names if n != 'id')}) VALUES ({marks})",
                [values[name] for name in names if name != "id"],
            )
        database.commit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--keys", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        settings = resolve({}, {"SDTERM_DATA": folder})
        prepare(settings.root)
        os.environ["PYTHONPATH"] = str(ROOT)
        result: dict[str, Any] = {"benchmark": "tui", "machine": machine(), "size": f"{COLUMNS}x{ROWS}"}
        with connect(settings) as host:
            try:
                result["first_paint"] = first_paint(data, given.pairs)
                result["typed_ahead"] = typed_ahead(data)
                result |= responsiveness(data, given.keys)
                for job in host.jobs().jobs:
                    if job.state in ("running", "queued"):
                        host.cancel(job.id)
                result["line"] = lines(data, given.keys)
                result["frame"] = frames()
                (data / "config.toml").write_text("steps = 2\n")
                draw_one(data)
                result["economy"] = economy(data)
            finally:
                host.stop()
        fill(data)
        with connect(settings) as host:
            try:
                result["gallery"] = gallery(data, 5)
            finally:
                host.stop()
    print(json.dumps(result))


def draw_one(data: Path) -> None:
    with opened(data) as terminal:
        terminal.press("lake\x1b[15~")
        terminal.until("done")


if __name__ == "__main__":
    main()
